-- Who approved or rejected what. Rows are added and never changed; the newest row of a plan counts.
CREATE SCHEMA IF NOT EXISTS squizzle;
CREATE TABLE IF NOT EXISTS squizzle.decision (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gate text NOT NULL,
    plan_digest text NOT NULL,
    answer text NOT NULL CHECK (answer IN ('approve', 'reject')),
    decided_by text NOT NULL,
    comment text NOT NULL DEFAULT '',
    decided_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    plan text NOT NULL,
    run text NOT NULL,
    recorded_by text NOT NULL DEFAULT session_user
);
CREATE INDEX IF NOT EXISTS decision_plan ON squizzle.decision (gate, plan_digest, decided_at);
COMMENT ON TABLE squizzle.decision IS 'What people approved or rejected, for which plan. Squizzle writes a row before it acts on it. (table version 1, usable from version 1)';
