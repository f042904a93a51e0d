SELECT s.slot_name::text,
       s.slot_type = 'physical',
       s.active_pid,
       r.application_name,
       s.wal_status,
       s.restart_lsn::text,
       r.flush_lsn::text,
       CASE WHEN pg_is_in_recovery() THEN pg_wal_lsn_diff(pg_last_wal_replay_lsn(), s.restart_lsn)
            ELSE pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn)
       END::bigint,
       (SELECT nullif(setting::bigint, -1) * 1048576 FROM pg_settings WHERE name = 'max_slot_wal_keep_size'),
       r.sync_state,
       (SELECT setting::bigint FROM pg_settings WHERE name = 'wal_segment_size')
  FROM pg_replication_slots s
  LEFT JOIN pg_stat_replication r ON r.pid = s.active_pid
 WHERE s.slot_name = %s
