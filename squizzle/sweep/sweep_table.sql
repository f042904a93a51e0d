-- The last sweep of each fleet, for those who watch whether sweeps go on.
CREATE SCHEMA IF NOT EXISTS squizzle;
CREATE TABLE IF NOT EXISTS squizzle.sweep (
    fleet text PRIMARY KEY,
    at timestamptz NOT NULL,
    duration interval NOT NULL,
    healthy int NOT NULL,
    unhealthy int NOT NULL,
    unreachable int NOT NULL,
    servers_unreachable int NOT NULL,
    pending int,
    failed int NOT NULL
);
COMMENT ON TABLE squizzle.sweep IS 'The last health sweep of each fleet. pending is null where it was not asked. (table version 1, usable from version 1)';
