CREATE SCHEMA IF NOT EXISTS squizzle_log;
REVOKE ALL ON SCHEMA squizzle_log FROM PUBLIC;

CREATE TABLE IF NOT EXISTS squizzle_log.logged_table (
    id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    schema_name text NOT NULL,
    table_name text NOT NULL,
    key_columns text[] NOT NULL,
    columns text[] NOT NULL,            -- "name type" of each, as when logging began
    exact boolean NOT NULL,             -- rows are kept as text, too: JSON alone would lose something of a type
    enabled_at timestamptz NOT NULL,
    enabled_by text NOT NULL,
    disabled_at timestamptz             -- the triggers were removed; its rows stay until they are pruned
);
CREATE UNIQUE INDEX IF NOT EXISTS logged_table_on ON squizzle_log.logged_table (schema_name, table_name)
    WHERE disabled_at IS NULL;

-- No index by table: every index is paid for by every write of the application. BRIN is nearly free.
CREATE TABLE IF NOT EXISTS squizzle_log.change (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    logged integer NOT NULL,
    xid xid8 NOT NULL,
    began_at timestamptz NOT NULL,      -- of the transaction; a restored log may hold the same xid of two clusters
    logged_at timestamptz NOT NULL,
    operation text NOT NULL,
    on_schema text NOT NULL,            -- of a partitioned table: the partition
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

-- How far back the log no longer reaches: changes before a time, the newest of which was made by this transaction.
CREATE TABLE IF NOT EXISTS squizzle_log.pruned (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    before timestamptz NOT NULL,
    xid xid8
);
