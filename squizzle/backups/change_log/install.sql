-- The functions of the change log, beside its tables (log_tables.sql); harmless where they are there already.
-- AFTER each row, so that nothing it returns can matter. SECURITY DEFINER: who writes to the table needs no right here.
-- The settings are those that what types print depends on: a session may have others, and the log must be one.
CREATE OR REPLACE FUNCTION squizzle_log.log_row() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET extra_float_digits = 3 SET datestyle = 'ISO' SET intervalstyle = 'postgres'
SET bytea_output = 'hex' SET lc_monetary = 'C' AS $$
BEGIN
    INSERT INTO squizzle_log.change (logged, xid, began_at, logged_at, operation, on_schema, on_table,
        session_user_name, role_name, application, old, new, old_exact, new_exact)
    VALUES (TG_ARGV[0]::integer, pg_current_xact_id(), now(), clock_timestamp(), TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME,
        session_user, coalesce(nullif(current_setting('role'), 'none'), session_user),
        current_setting('application_name'),
        CASE WHEN TG_OP <> 'INSERT' THEN row_to_json(OLD) END,
        CASE WHEN TG_OP <> 'DELETE' THEN row_to_json(NEW) END,
        CASE WHEN TG_ARGV[1] = 'exact' AND TG_OP <> 'INSERT' THEN OLD::text END,
        CASE WHEN TG_ARGV[1] = 'exact' AND TG_OP <> 'DELETE' THEN NEW::text END);
    RETURN NULL;
END $$;

-- TRUNCATE says nothing of its rows, so they are copied before. On a partitioned table PostgreSQL fires the triggers of
-- the partitions, too: the one of the parent copies only what none of them does. row_security off: an error, not a gap.
CREATE OR REPLACE FUNCTION squizzle_log.log_truncate() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET extra_float_digits = 3 SET datestyle = 'ISO' SET intervalstyle = 'postgres'
SET bytea_output = 'hex' SET lc_monetary = 'C' SET row_security = off AS $$
DECLARE
    leaf record;
BEGIN
    FOR leaf IN
        SELECT c.oid::regclass AS name, n.nspname, c.relname
        FROM (SELECT TG_RELID::oid AS relid UNION SELECT relid FROM pg_partition_tree(TG_RELID) WHERE isleaf) tree
        JOIN pg_class c ON c.oid = tree.relid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'r' AND (c.oid = TG_RELID OR NOT EXISTS (
            SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgfoid = 'squizzle_log.log_truncate'::regproc
            AND t.tgenabled = 'A'))
    LOOP
        EXECUTE format('INSERT INTO squizzle_log.change (logged, xid, began_at, logged_at, operation, on_schema,'
            ' on_table, session_user_name, role_name, application, old, old_exact)'
            ' SELECT $1, pg_current_xact_id(), now(), clock_timestamp(), ''TRUNCATE'', $2, $3, session_user, $4, $5,'
            ' row_to_json(one), CASE WHEN $6 THEN one::text END FROM ONLY %s one', leaf.name)
        USING TG_ARGV[0]::integer, leaf.nspname, leaf.relname,
            coalesce(nullif(current_setting('role'), 'none'), session_user), current_setting('application_name'),
            TG_ARGV[1] = 'exact';
    END LOOP;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION squizzle_log.log_row(), squizzle_log.log_truncate() FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA squizzle_log FROM PUBLIC
