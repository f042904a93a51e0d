-- What queries cost when all was well: one row for each time somebody said so.
CREATE SCHEMA IF NOT EXISTS squizzle;
CREATE TABLE IF NOT EXISTS squizzle.query_baseline (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    taken_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    taken_by text NOT NULL DEFAULT session_user,
    label text NOT NULL,
    counted_since timestamptz NOT NULL,
    server_version integer NOT NULL,
    queries jsonb NOT NULL
);
COMMENT ON TABLE squizzle.query_baseline IS 'What queries cost when all was well, from pg_stat_statements. Squizzle compares with the newest row.';
