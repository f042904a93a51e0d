-- Triggers of the user's on these tables and partitions that would change what is written, or do things again: not those
-- of constraints, which only check, and not those of the change log.
SELECT t.tgrelid::bigint AS table_id, n.nspname AS schema, c.relname AS name, t.tgname AS trigger, t.tgenabled::text AS enabled
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE t.tgrelid = ANY (%(members)s::oid[]) AND NOT t.tgisinternal AND t.tgconstraint = 0 AND t.tgenabled <> 'D'
  AND t.tgfoid NOT IN (to_regproc('squizzle_log.log_row'), to_regproc('squizzle_log.log_truncate'))
  AND t.tgtype & 28 <> 0 -- INSERT, DELETE, UPDATE; TRUNCATE does not happen here
ORDER BY 2, 3, 4
