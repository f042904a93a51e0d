-- What a session waits for, and one row for each session that blocks it.
SELECT CASE WHEN l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
            THEN l.relation::regclass::text END,
       l.relation::bigint, l.mode,
       a.pid, a.application_name, a.usename, a.state, left(a.query, 120),
       clock_timestamp() - a.xact_start, clock_timestamp() - a.state_change, a.backend_type
FROM unnest(pg_blocking_pids(%(pid)s)) AS b(pid)
JOIN pg_stat_activity a ON a.pid = b.pid
LEFT JOIN LATERAL (SELECT w.database, w.relation, w.mode FROM pg_locks w
                   WHERE w.pid = %(pid)s AND NOT w.granted LIMIT 1) l ON true
ORDER BY a.xact_start
