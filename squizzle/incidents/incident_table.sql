-- What was wrong with which target, from when to when, and what happened meanwhile.
CREATE SCHEMA IF NOT EXISTS squizzle;
CREATE TABLE IF NOT EXISTS squizzle.incident (
    id text PRIMARY KEY,
    fleet text NOT NULL,
    target text NOT NULL,
    opened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    cause text NOT NULL,
    attempted_at timestamptz,
    closed_at timestamptz,
    closed_by text NOT NULL DEFAULT '',
    threads jsonb NOT NULL DEFAULT '{}'
);
-- Version 2: whether somebody was told that a person has to look.
ALTER TABLE squizzle.incident
    ADD COLUMN IF NOT EXISTS is_told boolean NOT NULL DEFAULT false;
-- Version 3: the key of that message, where it is one for several.
ALTER TABLE squizzle.incident
    ADD COLUMN IF NOT EXISTS told_as text NOT NULL DEFAULT '';
COMMENT ON TABLE squizzle.incident IS 'From the first critical alert of a target until it was seen to be well again. (table version 3, usable from version 1)';
COMMENT ON COLUMN squizzle.incident.attempted_at IS 'When a recovery on its own was begun; there is one for an incident.';
CREATE UNIQUE INDEX IF NOT EXISTS incident_open ON squizzle.incident (fleet, target) WHERE closed_at IS NULL;
CREATE TABLE IF NOT EXISTS squizzle.incident_event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident text NOT NULL REFERENCES squizzle.incident,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind text NOT NULL,
    text text NOT NULL,
    by text NOT NULL
);
CREATE INDEX IF NOT EXISTS incident_event_of ON squizzle.incident_event (incident);
COMMENT ON TABLE squizzle.incident_event IS 'What happened in an incident, in order: alerts, actions, verdicts. (table version 1, usable from version 1)';
