-- What the server has counted of this database, and since when: resets and restarts must be told from changes.
SELECT clock_timestamp() AS at, pg_postmaster_start_time() AS server_started_at, s.stats_reset AS counted_since,
       s.xact_commit AS committed, s.xact_rollback AS rolled_back, s.deadlocks
FROM pg_stat_database s
WHERE s.datname = current_database()
