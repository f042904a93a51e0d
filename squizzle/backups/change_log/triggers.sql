-- Every trigger of ours, on every table and partition, with what PostgreSQL says about when it fires.
SELECT t.tgrelid::bigint, n.nspname, c.relname, c.relkind::text, t.tgfoid = to_regproc('squizzle_log.log_row') AS of_rows,
       t.tgenabled::text,
       split_part(encode(t.tgargs, 'escape'), E'\\000', 1)::integer AS logged,
       split_part(encode(t.tgargs, 'escape'), E'\\000', 2) = 'exact' AS exact
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE t.tgfoid IN (to_regproc('squizzle_log.log_row'), to_regproc('squizzle_log.log_truncate'))
