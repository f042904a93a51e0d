-- Whose the change log is, object by object, and whether its functions are what they should be.
WITH part AS (
    SELECT 'the schema squizzle_log' AS name, nspowner AS owner, NULL::oid AS function FROM pg_namespace
    WHERE nspname = 'squizzle_log'
    UNION ALL
    SELECT 'squizzle_log.' || c.relname, c.relowner, NULL FROM pg_class c
    WHERE c.relnamespace = to_regnamespace('squizzle_log') AND c.relname IN ('logged_table', 'change', 'pruned')
    UNION ALL
    SELECT 'squizzle_log.' || p.proname, p.proowner, p.oid FROM pg_proc p
    WHERE p.pronamespace = to_regnamespace('squizzle_log') AND p.proname IN ('log_row', 'log_truncate')
)
SELECT part.name, pg_get_userbyid(part.owner) AS owner,
       -- Rights to the role are not enough: a superuser has those of everybody.
       r.rolsuper OR part.owner = (SELECT datdba FROM pg_database WHERE datname = current_database())
       OR r.rolname = current_user
       OR (NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AND pg_has_role(part.owner, 'USAGE'))
           AS is_trusted,
       pg_has_role(part.owner, 'USAGE') AS is_ours,
       f.prosrc AS source,
       coalesce(f.prosecdef AND f.proconfig @> ARRAY['search_path=pg_catalog, pg_temp'], true) AS is_safe
FROM part JOIN pg_roles r ON r.oid = part.owner LEFT JOIN pg_proc f ON f.oid = part.function
ORDER BY part.name
