-- The newest engagement rate of each creator: what lists are filtered and sorted by, without a look at years of points. `ord` is
-- that of points_daily: exact under replays in any order, read with FINAL. Not partitioned: rows of one key have to meet in merges.
-- Creators from before this migration get theirs with their next snapshot.
CREATE TABLE IF NOT EXISTS creators_engagement
(
    platform LowCardinality(String),
    creator_id String CODEC(ZSTD(1)),
    rate Float64 CODEC(ZSTD(1)),
    ord UInt64 CODEC(T64, ZSTD(1))
)
ENGINE = ReplacingMergeTree(ord)
ORDER BY (platform, creator_id)
SETTINGS non_replicated_deduplication_window = 0;

CREATE MATERIALIZED VIEW IF NOT EXISTS creators_engagement_mv TO creators_engagement AS
SELECT
    p.platform AS platform,
    p.creator_id AS creator_id,
    p.value AS rate,
    toUInt64(toUnixTimestamp64Milli(p.ts)) * 65536 + p.version AS ord
FROM points AS p
WHERE p.metric = 'engagement_rate';
