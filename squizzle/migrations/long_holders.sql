-- Sessions that hold a conflicting lock on a relation and whose transaction is older than a limit, or of unknown age:
-- times of other roles' sessions are hidden from those who are no members of pg_read_all_stats.
SELECT DISTINCT ON (a.pid) a.pid, a.application_name, a.usename, a.state, left(a.query, 120),
       clock_timestamp() - a.xact_start, clock_timestamp() - a.state_change, a.backend_type,
       l.virtualtransaction
FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.granted AND l.relation = %(relation)s AND l.mode = ANY(%(modes)s) AND a.pid <> pg_backend_pid()
  AND (a.backend_type IS NULL OR clock_timestamp() - coalesce(a.xact_start, a.backend_start) > %(older_than)s)
ORDER BY a.pid
