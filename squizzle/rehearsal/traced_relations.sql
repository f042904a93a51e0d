-- Every relation that is somebody's: where it is, what it is, its file, and what was read and changed so far, counted by
-- the server (of all sessions) and not yet told to it by ours. Only those in `only`, unless that is null.
SELECT c.oid::bigint, n.nspname, c.relname, c.relkind::text, c.relispartition, c.relfilenode::bigint,
       COALESCE(i.indrelid, 0)::bigint, c.reltoastrelid::bigint,
       pg_catalog.pg_stat_get_tuples_returned(c.oid) + pg_catalog.pg_stat_get_xact_tuples_returned(c.oid),
       pg_catalog.pg_stat_get_tuples_fetched(c.oid) + pg_catalog.pg_stat_get_xact_tuples_fetched(c.oid),
       pg_catalog.pg_stat_get_tuples_inserted(c.oid) + pg_catalog.pg_stat_get_xact_tuples_inserted(c.oid)
       + pg_catalog.pg_stat_get_tuples_updated(c.oid) + pg_catalog.pg_stat_get_xact_tuples_updated(c.oid)
       + pg_catalog.pg_stat_get_tuples_deleted(c.oid) + pg_catalog.pg_stat_get_xact_tuples_deleted(c.oid)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
-- 16384 is FirstNormalObjectId: what initdb made is below it.
WHERE c.oid >= 16384 AND n.nspname OPERATOR(pg_catalog.!~) '^(pg_temp|pg_toast_temp|squizzle$)'
  AND c.relname OPERATOR(pg_catalog.!~) '^squizzle_history'
  AND (%(only)s::oid[] IS NULL OR c.oid OPERATOR(pg_catalog.=) ANY (%(only)s::oid[]))
