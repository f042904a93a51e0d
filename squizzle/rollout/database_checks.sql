-- What a database says about itself before it is migrated; one row. Ages in seconds, but for transaction ids.
SELECT pg_database_size(current_database()) AS size,
       (SELECT extract(epoch FROM max(clock_timestamp() - xact_start))::float8 FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend') AS longest,
       (SELECT coalesce(array_agg(gid ORDER BY prepared), '{}') FROM pg_prepared_xacts
         WHERE database = current_database()) AS prepared,
       (SELECT coalesce(array_agg(indexrelid::regclass::text ORDER BY 1), '{}') FROM pg_index
         WHERE NOT indisvalid) AS invalid,
       (SELECT reset_val = 'on' FROM pg_settings WHERE name = 'default_transaction_read_only') AS read_only,
       (SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database()) AS xid_age
