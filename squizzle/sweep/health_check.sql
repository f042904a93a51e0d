-- Columns as the guide has them; anybody who may read pg_stat_activity and this view needs no other right. Lag in seconds:
-- of a primary, how far its farthest standby is behind, NULL where the account may not see that (pg_read_all_stats);
-- of a standby, nothing while it is fed and has replayed all that it got, else the age of what it replayed last.
CREATE OR REPLACE VIEW squizzle.health_check AS
SELECT (SELECT max(applied_at) FROM {history} AS history WHERE success) AS last_success,
       (SELECT count(*) FROM {history} AS history
         WHERE NOT success AND applied_at > now() - interval '24 hours') AS recent_failures,
       pg_database_size(current_database()) AS db_size,
       (SELECT count(*) FROM pg_stat_activity) AS connections,
       CASE WHEN NOT pg_is_in_recovery()
            THEN (SELECT CASE WHEN NOT coalesce(bool_or(state IS NULL), false)
                              THEN coalesce(extract(epoch FROM max(replay_lag)), 0) END
                    FROM pg_stat_replication)
            WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() AND EXISTS (SELECT FROM pg_stat_wal_receiver) THEN 0
            ELSE extract(epoch FROM now() - pg_last_xact_replay_timestamp())
       END AS replication_lag
