-- Sessions that hold a conflicting lock on a relation and whose transaction is older than a limit.
SELECT DISTINCT ON (a.pid) a.pid, a.application_name, a.usename, a.state, left(a.query, 120),
       clock_timestamp() - a.xact_start, clock_timestamp() - a.state_change, a.backend_type
FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.granted AND l.relation = %(relation)s AND l.mode = ANY(%(modes)s) AND a.pid <> %(ours)s
  AND clock_timestamp() - coalesce(a.xact_start, a.backend_start) > %(older_than)s
ORDER BY a.pid
