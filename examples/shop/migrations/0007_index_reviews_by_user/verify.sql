-- An interrupted CREATE INDEX CONCURRENTLY leaves an index that costs on every write and serves no read.
SELECT indisvalid AND indisready AND indislive
FROM pg_index
WHERE indexrelid = to_regclass('reviews_user_id_idx') AND indrelid = to_regclass('reviews');
