-- The relation locks that this session holds, with each relation as the open transaction sees it now; what it dropped has
-- a name no more. The counters are those of traced_relations.sql. What the open transaction itself made is left out: a
-- script that makes a whole schema holds thousands of such locks.
SELECT l.relation::bigint, l.mode, n.nspname, c.relname, c.relkind::text, c.relfilenode::bigint,
       COALESCE(pg_catalog.pg_stat_get_tuples_returned(l.relation), 0)
       + COALESCE(pg_catalog.pg_stat_get_xact_tuples_returned(l.relation), 0),
       COALESCE(pg_catalog.pg_stat_get_tuples_fetched(l.relation), 0)
       + COALESCE(pg_catalog.pg_stat_get_xact_tuples_fetched(l.relation), 0),
       COALESCE(pg_catalog.pg_stat_get_tuples_inserted(l.relation), 0)
       + COALESCE(pg_catalog.pg_stat_get_xact_tuples_inserted(l.relation), 0)
       + COALESCE(pg_catalog.pg_stat_get_tuples_updated(l.relation), 0)
       + COALESCE(pg_catalog.pg_stat_get_xact_tuples_updated(l.relation), 0)
       + COALESCE(pg_catalog.pg_stat_get_tuples_deleted(l.relation), 0)
       + COALESCE(pg_catalog.pg_stat_get_xact_tuples_deleted(l.relation), 0)
FROM pg_catalog.pg_locks l
LEFT JOIN pg_catalog.pg_class c ON c.oid = l.relation
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE l.pid = pg_catalog.pg_backend_pid() AND l.granted AND l.locktype = 'relation' AND l.database <> 0
  AND l.relation >= 16384
  AND NOT (l.relation > %(after)s AND l.relation <= %(up_to)s
           AND l.relation OPERATOR(pg_catalog.<>) ALL (%(followed)s::oid[]))
  AND (c.oid IS NULL
       OR (n.nspname OPERATOR(pg_catalog.!~) '^(squizzle$)' AND c.relname OPERATOR(pg_catalog.!~) '^squizzle_history'))
