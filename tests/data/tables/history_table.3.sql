-- The first five columns are a public contract: monitoring queries of users read them.
CREATE TABLE IF NOT EXISTS {history} (
    version text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    success boolean,
    applied_by text NOT NULL DEFAULT session_user,
    error text,
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    checksum text,
    direction text NOT NULL CHECK (direction IN ('apply', 'rollback')),
    duration_ms bigint,
    environment text,
    rollout_id text,
    approved_by text,
    certificate text,
    lock_wait_ms bigint,
    attempts integer,
    statements_done integer NOT NULL DEFAULT 0,
    schema_digest text,
    predicted_locks jsonb,
    observed_locks jsonb,
    batch_progress jsonb
);
COMMENT ON TABLE {history} IS 'What Squizzle applied and rolled back here. success is null while a script runs.'
