-- Newest facts: one row per creator, post, picture. `ord` orders snapshots by logical time, then version, so that the
-- replay of an older job never covers what a newer one found. Not partitioned: rows of one key have to meet in merges.
CREATE TABLE IF NOT EXISTS creators
(
    platform LowCardinality(String),
    creator_id String CODEC(ZSTD(1)),
    name String CODEC(ZSTD(1)),
    handle String CODEC(ZSTD(1)),
    biography String CODEC(ZSTD(3)),
    verified Bool,
    gone Bool,
    flags Array(LowCardinality(String)),
    email String CODEC(ZSTD(1)),
    picture_url String CODEC(ZSTD(3)),
    ts DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    version UInt16 DEFAULT 1 CODEC(T64, ZSTD(1)),
    job_id String CODEC(ZSTD(1)),
    observed_at DateTime('UTC') CODEC(Delta, ZSTD(1)),
    ord UInt64 MATERIALIZED toUInt64(toUnixTimestamp64Milli(ts)) * 65536 + version CODEC(T64, ZSTD(1))
)
ENGINE = ReplacingMergeTree(ord)
ORDER BY (platform, creator_id)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS media
(
    platform LowCardinality(String),
    creator_id String CODEC(ZSTD(1)),
    media_id String CODEC(ZSTD(1)),
    kind LowCardinality(String),
    title String CODEC(ZSTD(3)),
    url String CODEC(ZSTD(1)),
    published_at DateTime('UTC') CODEC(ZSTD(1)),
    ts DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    version UInt16 DEFAULT 1 CODEC(T64, ZSTD(1)),
    job_id String CODEC(ZSTD(1)),
    observed_at DateTime('UTC') CODEC(Delta, ZSTD(1)),
    ord UInt64 MATERIALIZED toUInt64(toUnixTimestamp64Milli(ts)) * 65536 + version CODEC(T64, ZSTD(1))
)
ENGINE = ReplacingMergeTree(ord)
ORDER BY (platform, creator_id, media_id)
SETTINGS non_replicated_deduplication_window = 1000;

-- The stored sizes of the newest picture of each subject (`avatar`, or a post's id).
CREATE TABLE IF NOT EXISTS pictures
(
    platform LowCardinality(String),
    creator_id String CODEC(ZSTD(1)),
    subject String CODEC(ZSTD(1)),
    variant LowCardinality(String),
    key String CODEC(ZSTD(1)),
    source_url String CODEC(ZSTD(3)),
    sha256 String CODEC(ZSTD(1)),
    width UInt32 CODEC(T64, ZSTD(1)),
    height UInt32 CODEC(T64, ZSTD(1)),
    bytes UInt64 CODEC(T64, ZSTD(1)),
    thumbhash String CODEC(ZSTD(1)),
    ts DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    version UInt16 DEFAULT 1 CODEC(T64, ZSTD(1)),
    job_id String CODEC(ZSTD(1)),
    observed_at DateTime('UTC') CODEC(Delta, ZSTD(1)),
    ord UInt64 MATERIALIZED toUInt64(toUnixTimestamp64Milli(ts)) * 65536 + version CODEC(T64, ZSTD(1))
)
ENGINE = ReplacingMergeTree(ord)
ORDER BY (platform, creator_id, subject, variant)
SETTINGS non_replicated_deduplication_window = 1000;
