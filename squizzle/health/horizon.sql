-- What keeps VACUUM from removing dead rows, the oldest first: it must keep what any of these could still want to see.
-- Ages are in transactions.
SELECT kind, name, age, since
FROM (
    SELECT 'session' AS kind,
           format('%s (%s, %s) %s', pid, coalesce(nullif(application_name, ''), backend_type), usename, state) AS name,
           greatest(age(backend_xmin), age(backend_xid)) AS age, xact_start AS since
    FROM pg_stat_activity
    WHERE pid <> pg_backend_pid() AND backend_type <> 'walsender' AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
      AND datname = current_database()
    UNION ALL
    SELECT 'prepared transaction', gid, age(transaction), prepared FROM pg_prepared_xacts
    WHERE database = current_database()
    UNION ALL
    SELECT 'replication slot', slot_name, greatest(age(xmin), age(catalog_xmin)), NULL
    FROM pg_replication_slots WHERE xmin IS NOT NULL OR catalog_xmin IS NOT NULL
    UNION ALL
    SELECT 'standby', coalesce(nullif(application_name, ''), client_addr::text), age(backend_xmin), backend_start
    FROM pg_stat_replication WHERE backend_xmin IS NOT NULL
) h
WHERE age > 0
ORDER BY age DESC
LIMIT 5
