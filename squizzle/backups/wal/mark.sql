SELECT clock_timestamp(),
       pg_current_wal_insert_lsn()::text,
       pg_walfile_name(pg_current_wal_insert_lsn()),
       (SELECT system_identifier::text FROM pg_control_system()),
       pg_current_xact_id()::text,
       current_user::text,
       has_function_privilege('pg_create_restore_point(text)', 'EXECUTE')
