-- Sessions that wait for this one now, and how long the longest has waited; this one is still in its transaction.
SELECT count(*), coalesce(max(extract(epoch FROM clock_timestamp() - w.since)), 0)::float8
FROM (SELECT pid, min(waitstart) AS since FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid() GROUP BY pid) w
WHERE pg_backend_pid() = ANY (pg_blocking_pids(w.pid))
