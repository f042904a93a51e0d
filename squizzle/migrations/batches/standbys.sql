-- Who receives our WAL, how far behind they say they are, what they have replayed, and where we are. A role without
-- pg_monitor sees that there are standbys and nothing else. A running base backup replays nothing.
SELECT coalesce(nullif(application_name, ''), client_addr::text, 'process ' || pid),
       extract(epoch FROM replay_lag)::float8,
       pg_wal_lsn_diff(replay_lsn, '0/0')::bigint,
       pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint
FROM pg_stat_replication
WHERE state IS NULL OR (state IN ('streaming', 'catchup') AND replay_lsn IS NOT NULL)
