-- What counts for a new session of this role in this database: the narrower before the wider (manual, "ALTER ROLE").
SELECT pg_catalog.set_config(stored.name, stored.value, false)
FROM (
    SELECT DISTINCT ON (name) pg_catalog.split_part(setting, '=', 1) AS name,
           pg_catalog.substr(setting, pg_catalog.strpos(setting, '=') + 1) AS value
    FROM pg_catalog.pg_db_role_setting s, pg_catalog.unnest(s.setconfig) AS setting
    WHERE s.setrole IN (0, (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = session_user))
      AND s.setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()))
    ORDER BY name, s.setrole <> 0 DESC, s.setdatabase <> 0 DESC
) stored
LEFT JOIN pg_catalog.pg_settings now USING (name)
WHERE now.name IS NULL
   OR ((now.context = 'user' OR (now.context = 'superuser' AND pg_catalog.current_setting('is_superuser')::boolean))
       AND now.source NOT IN ('client', 'session'))
