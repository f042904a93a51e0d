-- Rollouts that began here: what they bring, and who is migrated when. A row is written before the first target is touched.
CREATE SCHEMA IF NOT EXISTS squizzle;
CREATE TABLE IF NOT EXISTS squizzle.rollout (
    id text PRIMARY KEY,
    fleet text NOT NULL,
    versions jsonb NOT NULL,
    stage_of jsonb NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_by text NOT NULL,
    ended_at timestamptz,
    outcome text
);
-- Version 2: which stage is being taken back, and why.
ALTER TABLE squizzle.rollout
    ADD COLUMN IF NOT EXISTS failed_stage text NOT NULL DEFAULT '',
    ADD COLUMN IF NOT EXISTS failure text NOT NULL DEFAULT '';
-- Version 3: whether the stages before it go with it.
ALTER TABLE squizzle.rollout
    ADD COLUMN IF NOT EXISTS takes_all boolean NOT NULL DEFAULT false;
-- Version 4: targets of some labels only.
ALTER TABLE squizzle.rollout
    ADD COLUMN IF NOT EXISTS labels jsonb NOT NULL DEFAULT '{}';
COMMENT ON TABLE squizzle.rollout IS 'Rollouts that began here. ended_at is null while one can be gone on with. (table version 4, usable from version 1)';
COMMENT ON COLUMN squizzle.rollout.failed_stage IS 'The stage that is being taken back; empty when none is.';
