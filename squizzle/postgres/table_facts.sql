-- Size, rows, write rate and oldest lock holder of every table.
SELECT n.nspname, c.relname, pg_total_relation_size(c.oid), greatest(c.reltuples, 0)::bigint,
       coalesce((s.n_tup_ins + s.n_tup_upd + s.n_tup_del)
                / greatest(1, extract(epoch FROM clock_timestamp() - coalesce(d.stats_reset, pg_postmaster_start_time()))), 0)::float,
       h.age
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_stat_database d ON d.datname = current_database()
LEFT JOIN pg_stat_user_tables s ON s.relid = c.oid
LEFT JOIN LATERAL (
    SELECT clock_timestamp() - min(a.xact_start) AS age
    FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.relation = c.oid AND l.granted AND l.database = d.datid AND a.pid <> pg_backend_pid()
) h ON true
WHERE c.relkind IN ('r', 'm', 'p') AND n.nspname !~ '^(pg_|information_schema$)'
