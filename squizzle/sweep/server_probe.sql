-- How a whole server is; one row. Times in seconds. A primary is asked how far its standbys are behind, a standby how far it
-- is itself: behind nothing while it is fed and has replayed all that it got, however long ago the last change was.
SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::int AS connections,
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
         - coalesce(current_setting('reserved_connections', true)::int, 0) AS connections_most,
       pg_is_in_recovery() AS is_standby,
       (SELECT count(*) FROM pg_stat_replication)::int AS standbys,
       CASE WHEN NOT pg_is_in_recovery() THEN (SELECT extract(epoch FROM max(replay_lag))::float8 FROM pg_stat_replication)
            WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() AND EXISTS (SELECT FROM pg_stat_wal_receiver) THEN 0
            ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8
       END AS replication_lag_s,
       (SELECT count(*) FROM pg_replication_slots WHERE wal_status IN ('unreserved', 'lost'))::int AS slots_lost,
       CASE WHEN NOT pg_is_in_recovery() THEN (SELECT max(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn))::float8
                                                 FROM pg_replication_slots)
       END AS slots_retain_bytes,
       (SELECT last_failed_time > coalesce(last_archived_time, '-infinity') FROM pg_stat_archiver) AS archiver_fails,
       pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS sees_all,
       extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::float8 AS up_s
