-- Why: letters begin "Dear Ms O'Brien" and lists sort by family name; full_name can do neither. First of two steps: the
-- new columns, empty. The release after this one writes all three; 0012 fills the old rows and drops full_name.
-- Lock: ACCESS EXCLUSIVE on users for an instant: no default, so no rewrite; NOT VALID, so no scan.

ALTER TABLE users
    ADD COLUMN given_name text,
    ADD COLUMN family_name text;

-- One word keeps the split reversible: what follows the last space of a full name, and nothing else.
ALTER TABLE users
    ADD CONSTRAINT users_family_name_one_word CHECK (strpos(family_name, ' ') = 0) NOT VALID;

COMMENT ON COLUMN users.given_name IS 'All but the last word of the name; NULL for people with one name only';
COMMENT ON COLUMN users.family_name IS 'The last word of the name: O''Brien, but of van der Berg only Berg';
