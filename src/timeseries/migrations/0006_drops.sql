-- The newest facts with the followers of their snapshot, and those of the newest snapshot before it: whoever lost more than half
-- in between has the flag `suspicious_drop`. `followers` is NULL where the platform hides them, `followers_before` where no
-- earlier snapshot is known.
ALTER TABLE creators ADD COLUMN IF NOT EXISTS followers Nullable(Float64) CODEC(ZSTD(1)) AFTER picture_url;
ALTER TABLE creators ADD COLUMN IF NOT EXISTS followers_before Nullable(Float64) CODEC(ZSTD(1)) AFTER followers;
ALTER TABLE creators ADD COLUMN IF NOT EXISTS followers_before_ts DateTime64(3, 'UTC') DEFAULT 0 CODEC(Delta, ZSTD(1)) AFTER followers_before;

-- Where snapshots are inserted. It keeps nothing: its view compares them with what `creators` holds, a whole batch at once. The
-- two newest snapshots of a creator are all that has to be known for it, so `points`, which is many times as large, is not asked.
-- One insert at a time, see tables.ts.
CREATE TABLE IF NOT EXISTS creators_in
(
    ts DateTime64(3, 'UTC'),
    observed_at DateTime('UTC'),
    platform LowCardinality(String),
    creator_id String,
    job_id String,
    name String,
    handle String,
    biography String,
    verified Bool,
    gone Bool,
    flags Array(LowCardinality(String)),
    email String,
    picture_url String,
    followers Nullable(Float64)
)
ENGINE = Null;

-- Snapshots on their way from `creators_in` to `creators`; it keeps nothing either. `newest_ts`: of what is stored of the creator.
CREATE TABLE IF NOT EXISTS creators_compared
(
    ts DateTime64(3, 'UTC'),
    observed_at DateTime('UTC'),
    platform LowCardinality(String),
    creator_id String,
    job_id String,
    name String,
    handle String,
    biography String,
    verified Bool,
    gone Bool,
    flags Array(LowCardinality(String)),
    email String,
    picture_url String,
    followers Nullable(Float64),
    before Tuple(ts DateTime64(3, 'UTC'), is_new UInt8, followers Float64),
    newest_ts DateTime64(3, 'UTC')
)
ENGINE = Null;

CREATE MATERIALIZED VIEW IF NOT EXISTS creators_mv TO creators AS
SELECT
    * EXCEPT (flags, before, newest_ts),
    if(followers < before.followers / 2, arrayDistinct(arrayPushBack(n.flags, 'suspicious_drop')), n.flags) AS flags,
    if(before.ts > 0, before.followers, NULL) AS followers_before,
    before.ts AS followers_before_ts
FROM creators_compared AS n;

-- A snapshot that comes late, between the newest one and its predecessor: the newest facts are written again, compared with it.
CREATE MATERIALIZED VIEW IF NOT EXISTS creators_late_mv TO creators AS
WITH arrayFilter(flag -> flag != 'suspicious_drop', c.flags) AS others
SELECT
    c.platform AS platform,
    c.creator_id AS creator_id,
    c.name AS name,
    c.handle AS handle,
    c.biography AS biography,
    c.verified AS verified,
    c.gone AS gone,
    if(c.followers < n.followers / 2, arrayPushBack(others, 'suspicious_drop'), others) AS flags,
    c.email AS email,
    c.picture_url AS picture_url,
    c.followers AS followers,
    n.followers AS followers_before,
    n.ts AS followers_before_ts,
    c.ts AS ts,
    c.version AS version,
    c.job_id AS job_id,
    c.observed_at AS observed_at
FROM creators_compared AS n
INNER JOIN
(
    SELECT * FROM creators FINAL
    PREWHERE creator_id IN (SELECT creator_id FROM creators_compared WHERE ts < newest_ts AND followers IS NOT NULL)
) AS c ON c.platform = n.platform AND c.creator_id = n.creator_id
WHERE n.ts < c.ts AND n.followers IS NOT NULL
    AND (n.ts > c.followers_before_ts OR n.ts = c.followers_before_ts AND n.followers != c.followers_before)
ORDER BY n.ts DESC
LIMIT 1 BY c.platform, c.creator_id;

-- Each snapshot, with the newest earlier one of those that are stored and those that came in the same batch. Of two with one
-- `ts`, the one that came now has replaced the stored one. PREWHERE, because creators have to be left out before FINAL merges.
CREATE MATERIALIZED VIEW IF NOT EXISTS creators_compared_mv TO creators_compared AS
SELECT
    n.*,
    arrayReverseSort(arrayFilter(s -> s.1 < n.ts, k.snapshots))[1] AS before,
    k.newest_ts AS newest_ts
FROM creators_in AS n
LEFT JOIN
(
    SELECT
        platform,
        creator_id,
        groupArrayIf((at, is_new, assumeNotNull(value)), isNotNull(value)) AS snapshots,
        max(stored_ts) AS newest_ts
    FROM
    (
        SELECT platform, creator_id, ts AS at, 1 AS is_new, followers AS value, toDateTime64(0, 3, 'UTC') AS stored_ts
        FROM creators_in
        UNION ALL
        SELECT platform, creator_id, s.1 AS at, 0 AS is_new, s.2 AS value, ts AS stored_ts
        FROM creators FINAL
        ARRAY JOIN [(ts, followers), (followers_before_ts, followers_before)] AS s
        PREWHERE creator_id IN (SELECT creator_id FROM creators_in) AND platform IN (SELECT platform FROM creators_in)
    )
    GROUP BY platform, creator_id
) AS k ON k.platform = n.platform AND k.creator_id = n.creator_id;
