SELECT current_setting('wal_level'),
       current_setting('max_wal_senders')::int,
       (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user),
       current_user::text,
       (SELECT setting::bigint FROM pg_settings WHERE name = 'wal_segment_size'),
       (SELECT setting::bigint FROM pg_settings WHERE name = 'max_slot_wal_keep_size')
