-- The last number of each day. `ord` (logical time in ms, then version) makes it exact under replays in any order: it keeps
-- what `points FINAL` would say, also when a correction lowers a value. Read with FINAL.
CREATE TABLE IF NOT EXISTS points_daily
(
    day Date CODEC(DoubleDelta, ZSTD(1)),
    platform LowCardinality(String),
    metric LowCardinality(String),
    creator_id String CODEC(ZSTD(1)),
    value Float64 CODEC(ZSTD(1)),
    ord UInt64 CODEC(T64, ZSTD(1))
)
ENGINE = ReplacingMergeTree(ord)
PARTITION BY toYYYYMM(day)
ORDER BY (platform, metric, day, creator_id)
SETTINGS non_replicated_deduplication_window = 1000;

-- Every source column is written with its table's alias: an alias of the result that shadows one makes the view fail.
CREATE MATERIALIZED VIEW IF NOT EXISTS points_daily_mv TO points_daily AS
SELECT
    toDate(p.ts) AS day,
    p.platform AS platform,
    p.metric AS metric,
    p.creator_id AS creator_id,
    argMax(p.value, toUInt64(toUnixTimestamp64Milli(p.ts)) * 65536 + p.version) AS value,
    max(toUInt64(toUnixTimestamp64Milli(p.ts)) * 65536 + p.version) AS ord
FROM points AS p
GROUP BY day, platform, metric, creator_id;

-- A platform's sum per day over the creators that were seen that day. Up to a minute old.
CREATE MATERIALIZED VIEW IF NOT EXISTS platform_daily
REFRESH EVERY 1 MINUTE
(
    day Date,
    platform LowCardinality(String),
    metric LowCardinality(String),
    creators UInt64,
    total Float64
)
ENGINE = MergeTree
ORDER BY (platform, metric, day)
EMPTY
AS SELECT
    d.day AS day,
    d.platform AS platform,
    d.metric AS metric,
    count() AS creators,
    sum(d.value) AS total
FROM points_daily AS d FINAL
GROUP BY day, platform, metric
SETTINGS max_execution_time = 300, do_not_merge_across_partitions_select_final = 1;

-- First and last number of the last seven days, of creators that were seen on two days at least. Up to a minute old.
CREATE MATERIALIZED VIEW IF NOT EXISTS growth_7d
REFRESH EVERY 1 MINUTE
(
    platform LowCardinality(String),
    metric LowCardinality(String),
    creator_id String,
    day_from Date,
    day_to Date,
    value_from Float64,
    value_to Float64,
    absolute Float64,
    relative Nullable(Float64)
)
ENGINE = MergeTree
ORDER BY (platform, metric, creator_id)
EMPTY
AS SELECT
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
SETTINGS max_execution_time = 300, do_not_merge_across_partitions_select_final = 1;
