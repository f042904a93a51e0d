-- Rows of a damaged database that the recovered one does not have: kept until somebody drops the schema.
CREATE SCHEMA IF NOT EXISTS squizzle_salvage;
REVOKE ALL ON SCHEMA squizzle_salvage FROM PUBLIC;
CREATE TABLE IF NOT EXISTS squizzle_salvage.salvage (
    id text PRIMARY KEY,
    taken_at timestamptz NOT NULL,
    damaged text NOT NULL,
    backup_id text NOT NULL,
    tables jsonb NOT NULL
);
CREATE TABLE IF NOT EXISTS squizzle_salvage.row (
    salvage text NOT NULL REFERENCES squizzle_salvage.salvage,
    number bigint NOT NULL,
    table_name text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('added', 'changed')),
    key text NOT NULL,
    damaged jsonb NOT NULL,
    recovered jsonb,
    state text NOT NULL DEFAULT 'kept' CHECK (state IN ('kept', 'merged', 'conflict')),
    why text,
    PRIMARY KEY (salvage, number)
);
COMMENT ON TABLE squizzle_salvage.salvage IS 'What was salvaged of which damaged database. (table version 1, usable from version 1)';
COMMENT ON TABLE squizzle_salvage.row IS
    'Rows that a damaged database had. The values of damaged and recovered are the texts of the columns, by name. (table version 1, usable from version 1)';
