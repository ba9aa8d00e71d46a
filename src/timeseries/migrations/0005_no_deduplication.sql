-- A server that is not replicated writes an insert into its log of insertions before the rows have their place. One that is
-- killed in between, or fails there, remembers an insert it does not have, and acknowledges the repetition without storing
-- it. Rows that are stored twice cost nothing: every table replaces by key.
ALTER TABLE points MODIFY SETTING non_replicated_deduplication_window = 0;
ALTER TABLE points_daily MODIFY SETTING non_replicated_deduplication_window = 0;
ALTER TABLE media_points MODIFY SETTING non_replicated_deduplication_window = 0;
ALTER TABLE creators MODIFY SETTING non_replicated_deduplication_window = 0;
ALTER TABLE media MODIFY SETTING non_replicated_deduplication_window = 0;
ALTER TABLE pictures MODIFY SETTING non_replicated_deduplication_window = 0;
ALTER TABLE jobs MODIFY SETTING non_replicated_deduplication_window = 0;
