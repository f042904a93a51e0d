-- What a whole server says about itself before its databases are migrated; one row. Lags in seconds.
SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::int AS connections,
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int AS most,
       pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS sees_all,
       (SELECT extract(epoch FROM max(replay_lag))::float8 FROM pg_stat_replication) AS lag,
       (SELECT coalesce(array_agg(slot_name::text ORDER BY slot_name), '{}') FROM pg_replication_slots
         WHERE NOT temporary AND (NOT active OR wal_status IN ('unreserved', 'lost'))) AS slots,
       (SELECT last_failed_time > coalesce(last_archived_time, '-infinity') FROM pg_stat_archiver) AS archiver_fails,
       (SELECT count(*) FROM pg_stat_progress_basebackup)::int AS backups,
       (SELECT coalesce(array_agg(name || ' = ' || setting ORDER BY name), '{}') FROM pg_settings
         WHERE (name IN ('fsync', 'full_page_writes') AND setting = 'off')) AS risky
