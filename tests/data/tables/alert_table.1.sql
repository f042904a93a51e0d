-- What is not well, who was told of it, and when nobody is to be told.
CREATE SCHEMA IF NOT EXISTS squizzle;
CREATE TABLE IF NOT EXISTS squizzle.alert (
    fleet text NOT NULL,
    target text NOT NULL,
    rule text NOT NULL,
    severity text NOT NULL,
    notify text[] NOT NULL,
    since timestamptz NOT NULL,
    last_not_false timestamptz NOT NULL,
    fires_since timestamptz,
    unknown int NOT NULL,
    key text NOT NULL,
    is_told boolean NOT NULL,
    threads jsonb NOT NULL,
    detail text NOT NULL,
    PRIMARY KEY (fleet, target, rule)
);
COMMENT ON TABLE squizzle.alert IS 'Alert rules that are not simply false at a target. What is over has no row any more.';
CREATE TABLE IF NOT EXISTS squizzle.silence (
    id text PRIMARY KEY,
    fleet text NOT NULL,
    rule text NOT NULL,
    target text NOT NULL,
    until timestamptz NOT NULL,
    reason text NOT NULL,
    by text NOT NULL,
    made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz,
    ended_by text
);
COMMENT ON TABLE squizzle.silence IS 'Times in which nobody is told of some alerts, and why.';
