-- One row per terminal outcome. A job that was dead and is replayed with success keeps the outcome observed last.
CREATE TABLE IF NOT EXISTS jobs
(
    ts DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    platform LowCardinality(String),
    creator_id String CODEC(ZSTD(1)),
    job_id String CODEC(ZSTD(1)),
    job_type LowCardinality(String),
    status LowCardinality(String),
    reason LowCardinality(String),
    attempts UInt16 CODEC(T64, ZSTD(1)),
    duration_ms UInt64 CODEC(T64, ZSTD(1)),
    observed_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    -- For the look-up of one job: the key is ordered by time. Versions of a job share its id, so FINAL may use it.
    INDEX job_id_bloom job_id TYPE bloom_filter GRANULARITY 4
)
ENGINE = ReplacingMergeTree(observed_at)
PARTITION BY toYYYYMM(ts)
ORDER BY (platform, ts, job_id)
TTL toDateTime(ts) + INTERVAL 30 DAY
SETTINGS non_replicated_deduplication_window = 1000;
