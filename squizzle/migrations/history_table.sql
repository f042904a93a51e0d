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
    schema_digest text
);
-- Version 2: which locks were forecast, and which were taken.
ALTER TABLE {history}
    ADD COLUMN IF NOT EXISTS predicted_locks jsonb,
    ADD COLUMN IF NOT EXISTS observed_locks jsonb;
-- Version 3: how far a script in batches is.
ALTER TABLE {history}
    ADD COLUMN IF NOT EXISTS batch_progress jsonb;
-- Version 4: where the rows are kept that the script touched.
ALTER TABLE {history}
    ADD COLUMN IF NOT EXISTS saved_rows jsonb;
COMMENT ON TABLE {history} IS 'What Squizzle applied and rolled back here. success is null while a script runs. (table version 4, usable from version 1)';
