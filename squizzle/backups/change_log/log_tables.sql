-- What the change log keeps. Nobody but its owner may read it: it has rows of all tables that are logged.
CREATE SCHEMA IF NOT EXISTS squizzle_log;
REVOKE ALL ON SCHEMA squizzle_log FROM PUBLIC;
-- columns: "name type" of each, as when logging began. exact: rows are kept as text, too, for JSON alone would lose
-- something of a type. disabled_at: the triggers were removed; its rows stay until they are pruned.
CREATE TABLE IF NOT EXISTS squizzle_log.logged_table (
    id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    schema_name text NOT NULL,
    table_name text NOT NULL,
    key_columns text[] NOT NULL,
    columns text[] NOT NULL,
    exact boolean NOT NULL,
    enabled_at timestamptz NOT NULL,
    enabled_by text NOT NULL,
    disabled_at timestamptz
);
CREATE UNIQUE INDEX IF NOT EXISTS logged_table_on ON squizzle_log.logged_table (schema_name, table_name)
    WHERE disabled_at IS NULL;
COMMENT ON TABLE squizzle_log.logged_table IS 'Which tables are logged. (table version 1, usable from version 1)';
-- No index by table: every index is paid for by every write of the application. BRIN is nearly free.
-- began_at: of the transaction; a restored log may hold the same xid of two clusters. on_schema and on_table: of a
-- partitioned table the partition.
CREATE TABLE IF NOT EXISTS squizzle_log.change (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    logged integer NOT NULL,
    xid xid8 NOT NULL,
    began_at timestamptz NOT NULL,
    logged_at timestamptz NOT NULL,
    operation text NOT NULL,
    on_schema text NOT NULL,
    on_table text NOT NULL,
    session_user_name text NOT NULL,
    role_name text NOT NULL,
    application text NOT NULL,
    old json,
    new json,
    old_exact text,
    new_exact text
);
CREATE INDEX IF NOT EXISTS change_logged_at ON squizzle_log.change USING brin (logged_at);
COMMENT ON TABLE squizzle_log.change IS 'Every change of rows that are logged. (table version 1, usable from version 1)';
-- How far back the log no longer reaches: changes before a time, the newest of which was made by this transaction.
CREATE TABLE IF NOT EXISTS squizzle_log.pruned (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    before timestamptz NOT NULL,
    xid xid8
);
-- Version 2: of these entries of logged_table only; NULL: of all.
ALTER TABLE squizzle_log.pruned
    ADD COLUMN IF NOT EXISTS logged integer[];
COMMENT ON TABLE squizzle_log.pruned IS 'Which changes are gone. (table version 2, usable from version 1)';
