-- Every session of the cluster but this one, parallel workers folded into their leader (they have no row of their own).
-- What others' sessions do is NULL for those who are no members of pg_read_all_stats.
SELECT a.pid, a.backend_start, coalesce(a.backend_type, '') AS kind, coalesce(a.datname, '') AS database,
       coalesce(a.usename, '') AS "user", coalesce(r.rolsuper, false) AS is_superuser,
       coalesce(a.application_name, '') AS application, coalesce(a.client_addr::text, '') AS client,
       coalesce(a.state, '') AS state, left(coalesce(a.query, ''), 1000) AS query,
       a.xact_start AS transaction_start, a.query_start, a.state_change,
       coalesce(a.wait_event_type, '') AS wait_kind,
       (SELECT count(*) FROM pg_stat_activity w WHERE w.leader_pid = a.pid AND w.pid <> a.pid)::int AS workers,
       EXISTS (
           SELECT FROM pg_locks l
           WHERE l.pid = a.pid AND l.locktype = 'advisory' AND l.classid::bigint >> 8 = %(our_locks)s AND l.objsubid = 2 AND l.granted
       ) AS holds_our_lock
FROM pg_stat_activity a
LEFT JOIN pg_roles r ON r.oid = a.usesysid
WHERE a.pid <> pg_backend_pid() AND (a.leader_pid IS NULL OR a.leader_pid = a.pid)
ORDER BY a.pid
