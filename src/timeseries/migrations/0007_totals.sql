-- A row of points is a row of points_daily as it is: the table keeps the newest of each day by itself, and of two equally new ones
-- that came in one insert the last, as points does; argMax kept the first. Without grouping an insert costs less, too.
ALTER TABLE points_daily_mv MODIFY QUERY
SELECT
    toDate(p.ts) AS day,
    p.platform AS platform,
    p.metric AS metric,
    p.creator_id AS creator_id,
    p.value AS value,
    toUInt64(toUnixTimestamp64Milli(p.ts)) * 65536 + p.version AS ord
FROM points AS p;

-- When each day's numbers were written last, so that only days that changed are counted again. Written by the inserts that write
-- the numbers.
CREATE TABLE IF NOT EXISTS days_written
(
    platform LowCardinality(String),
    metric LowCardinality(String),
    day Date,
    written_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(written_at)
ORDER BY (platform, metric, day)
SETTINGS non_replicated_deduplication_window = 0;

CREATE MATERIALIZED VIEW IF NOT EXISTS days_written_mv TO days_written AS
SELECT d.platform AS platform, d.metric AS metric, d.day AS day, now64(3) AS written_at
FROM points_daily AS d
GROUP BY platform, metric, day;

-- What is there already. Harmless when it is repeated. In the order of the key, which costs a tenth: half a second of CPU for 50
-- million rows.
INSERT INTO days_written
SELECT platform, metric, day, now64(3) AS written_at FROM points_daily GROUP BY platform, metric, day
SETTINGS optimize_aggregation_in_order = 1;

-- A platform's sum of a day, as it was counted last.
CREATE TABLE IF NOT EXISTS platform_totals
(
    platform LowCardinality(String),
    metric LowCardinality(String),
    day Date,
    creators UInt64,
    total Float64,
    counted_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(counted_at)
ORDER BY (platform, metric, day)
SETTINGS non_replicated_deduplication_window = 0;

-- Every minute, the days that were written since they were counted. An insert takes a moment from its `written_at` to where others
-- see it, 30 s at most, and the clocks of two servers differ: a day is counted until a minute has passed since. Each day is counted
-- once in 24 hours whatever happened, in case rows were deleted by hand. A refresh takes the days that have waited longest, until
-- they are 10 million rows by their last count, so that replaying everything costs no more than that a minute.
CREATE MATERIALIZED VIEW IF NOT EXISTS platform_totals_mv
REFRESH EVERY 1 MINUTE APPEND TO platform_totals EMPTY
AS SELECT
    d.platform AS platform,
    d.metric AS metric,
    d.day AS day,
    count() AS creators,
    sum(d.value) AS total,
    now64(3) AS counted_at
FROM points_daily AS d FINAL
WHERE (d.platform, d.metric, d.day) IN
(
    SELECT platform, metric, day
    FROM
    (
        SELECT
            w.platform AS platform,
            w.metric AS metric,
            w.day AS day,
            sum(t.creators) OVER (ORDER BY t.counted_at, w.platform, w.metric, w.day ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
        FROM days_written AS w FINAL
        LEFT JOIN (SELECT * FROM platform_totals FINAL) AS t ON t.platform = w.platform AND t.metric = w.metric AND t.day = w.day
        WHERE t.counted_at < w.written_at + INTERVAL 1 MINUTE OR t.counted_at < now64(3) - INTERVAL 24 HOUR
    )
    WHERE before < 10000000
)
GROUP BY platform, metric, day
SETTINGS max_execution_time = 300, max_threads = 1, do_not_merge_across_partitions_select_final = 1, join_use_nulls = 0;

-- Up to a minute old, as before. After days were deleted whole, TRUNCATE platform_totals: it is counted anew within minutes.
CREATE OR REPLACE VIEW platform_daily AS
SELECT day, platform, metric, creators, total FROM platform_totals FINAL;

-- Growth of a week need not be newer than five minutes. AFTER, not EVERY: a refresh that takes long makes the pauses no shorter.
ALTER TABLE growth_7d MODIFY QUERY
SELECT
    d.platform AS platform,
    d.metric AS metric,
    d.creator_id AS creator_id,
    min(d.day) AS day_from,
    max(d.day) AS day_to,
    argMin(d.value, d.day) AS value_from,
    argMax(d.value, d.day) AS value_to,
    value_to - value_from AS absolute,
    if(value_from > 0, absolute / value_from, NULL) AS relative
FROM points_daily AS d FINAL
WHERE d.day >= toDate(now('UTC')) - 7
GROUP BY platform, metric, creator_id
HAVING day_from < day_to
SETTINGS max_execution_time = 300, max_threads = 1, do_not_merge_across_partitions_select_final = 1;

ALTER TABLE growth_7d MODIFY REFRESH AFTER 5 MINUTE;
