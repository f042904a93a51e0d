SELECT (SELECT system_identifier::text FROM pg_control_system()),
       current_setting('archive_mode') <> 'off',
       a.archived_count,
       a.last_archived_wal,
       a.last_archived_time,
       a.failed_count,
       a.last_failed_wal,
       a.last_failed_time,
       has_function_privilege('pg_ls_archive_statusdir()', 'EXECUTE')
  FROM pg_stat_archiver a
