-- One row for each thing that is fenced. A row goes when the last hold has gone.
CREATE SCHEMA IF NOT EXISTS squizzle;
CREATE TABLE IF NOT EXISTS squizzle.fence (
    thing text PRIMARY KEY,
    found text NOT NULL,
    step text NOT NULL,
    holds jsonb NOT NULL
);
COMMENT ON TABLE squizzle.fence IS 'What Squizzle has fenced, what it found there, and who holds it. See `squizzle unfence`. (table version 1, usable from version 1)';
