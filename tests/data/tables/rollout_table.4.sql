-- Rollouts that began here: what they bring, and who is migrated when. A row is written before the first target is touched.
CREATE SCHEMA IF NOT EXISTS squizzle;
CREATE TABLE IF NOT EXISTS squizzle.rollout (
    id text PRIMARY KEY,
    fleet text NOT NULL,
    versions jsonb NOT NULL,
    stage_of jsonb NOT NULL,
    labels jsonb NOT NULL DEFAULT '{}',
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_by text NOT NULL,
    failed_stage text NOT NULL DEFAULT '',
    failure text NOT NULL DEFAULT '',
    takes_all boolean NOT NULL DEFAULT false,
    ended_at timestamptz,
    outcome text
);
COMMENT ON TABLE squizzle.rollout IS 'Rollouts that began here. ended_at is null while one can be gone on with.';
COMMENT ON COLUMN squizzle.rollout.failed_stage IS 'The stage that is being taken back; empty when none is.';
