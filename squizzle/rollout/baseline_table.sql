-- What targets of rollouts that have not ended had counted before and right after their migration.
CREATE SCHEMA IF NOT EXISTS squizzle;
CREATE TABLE IF NOT EXISTS squizzle.rollout_baseline (
    rollout_id text NOT NULL,
    stage text NOT NULL,
    target text NOT NULL,
    before json,
    after json,
    noted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (rollout_id, target, stage)
);
COMMENT ON TABLE squizzle.rollout_baseline IS 'What targets counted before and after their migration, to tell whether it did harm. Rows go when the rollout ends. (table version 1, usable from version 1)';
