-- How one database is; one row. Times in seconds, ages of transaction ids in transactions. Counters are since stats_reset.
SELECT pg_database_size(s.datname) AS size_bytes,
       a.longest_transaction_s, a.idle_in_transaction_s, a.lock_waits,
       (SELECT extract(epoch FROM max(clock_timestamp() - prepared))::float8 FROM pg_prepared_xacts
         WHERE database = s.datname) AS oldest_prepared_s,
       (SELECT count(*) FROM pg_index i WHERE NOT i.indisvalid
           AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid))::int
         AS invalid_indexes,
       (SELECT age(datfrozenxid) FROM pg_database WHERE datname = s.datname) AS xid_age,
       t.dead_rows, t.live_rows,
       s.xact_commit AS commits, s.xact_rollback AS rollbacks, s.deadlocks,
       coalesce(s.checksum_failures, 0) AS checksum_failures,
       CASE WHEN s.blks_hit + s.blks_read > 0 THEN 100.0::float8 * s.blks_hit / (s.blks_hit + s.blks_read) END AS cache_hit_pct,
       s.temp_bytes
FROM pg_stat_database s,
     (SELECT coalesce(sum(n_dead_tup), 0)::bigint AS dead_rows, coalesce(sum(n_live_tup), 0)::bigint AS live_rows
        FROM pg_stat_user_tables) t,
     (SELECT extract(epoch FROM max(clock_timestamp() - xact_start))::float8 AS longest_transaction_s,
             extract(epoch FROM max(clock_timestamp() - state_change)
                     FILTER (WHERE state LIKE 'idle in transaction%'))::float8 AS idle_in_transaction_s,
             count(*) FILTER (WHERE wait_event_type = 'Lock' AND query_start < clock_timestamp() - interval '1 second')::int
               AS lock_waits
        FROM pg_stat_activity
       WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend') a
WHERE s.datname = current_database()
