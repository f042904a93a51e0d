-- Triggers that Squizzle switched off: one row for each, until it is on again and its foreign key was compared.
CREATE SCHEMA IF NOT EXISTS squizzle;
CREATE TABLE IF NOT EXISTS squizzle.paused_trigger (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    schema_name text NOT NULL,
    table_name text NOT NULL,
    trigger_name text NOT NULL,
    function_name text NOT NULL,
    table_id oid NOT NULL,
    trigger_id oid NOT NULL,
    former_mode text NOT NULL CHECK (former_mode IN ('O', 'A', 'R')),
    paused_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    paused_by text NOT NULL,
    why text NOT NULL,
    until timestamptz NOT NULL,
    UNIQUE (schema_name, table_name, trigger_name, function_name)
);
COMMENT ON TABLE squizzle.paused_trigger IS 'Triggers that were switched off for a while, with the mode to put back. `squizzle triggers resume` does.';
