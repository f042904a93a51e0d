-- What the account of this session may do here: one row.
SELECT
    current_user::text AS name,
    role.rolsuper AS is_superuser,
    role.rolcreatedb AS makes_databases,
    pg_has_role('pg_monitor', 'USAGE') AS monitors,
    pg_has_role('pg_signal_backend', 'USAGE') AS signals,
    CASE WHEN schema.oid IS NULL THEN has_database_privilege(current_database(), 'CREATE')
         ELSE has_schema_privilege(schema.oid, 'CREATE') END AS may_create,
    EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_stat_statements') AS counts_queries,
    coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS is_encrypted,
    host(inet_client_addr()) AS client
FROM pg_roles AS role
LEFT JOIN pg_namespace AS schema ON schema.nspname = %(schema)s
WHERE role.rolname = current_user;
