-- IF EXISTS: also clears away what an interrupted CREATE INDEX CONCURRENTLY leaves (an INVALID index) or does not leave.
DROP INDEX CONCURRENTLY IF EXISTS reviews_user_id_idx;
