-- Creators from before migration 0008 have the engagement rate of their newest snapshot, if they had one in the last five weeks; the
-- others get theirs with their next one. Five weeks, so that it takes seconds with a million creators. Harmless when it is repeated,
-- and while others write: what is newer has a higher `ord` and stays.
INSERT INTO creators_engagement
SELECT d.platform AS platform, d.creator_id AS creator_id, argMax(d.value, d.ord) AS rate, max(d.ord) AS ord
FROM points_daily AS d FINAL
WHERE d.metric = 'engagement_rate' AND d.day >= toDate(now('UTC')) - 35
GROUP BY platform, creator_id
SETTINGS do_not_merge_across_partitions_select_final = 1;
