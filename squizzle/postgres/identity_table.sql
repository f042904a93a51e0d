-- One row at most: who this database is. The id is written once and never changed.
CREATE SCHEMA IF NOT EXISTS squizzle;
CREATE TABLE IF NOT EXISTS squizzle.identity (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    environment text,
    fleet text,
    name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row)
);
COMMENT ON TABLE squizzle.identity IS 'Who this database is. Squizzle compares it with what a caller meant before it changes anything. (table version 1, usable from version 1)';
