-- Nothing is lost: full_name still holds every name in one piece, and the parts can be split off it again (0012 does).

ALTER TABLE users DROP CONSTRAINT users_family_name_one_word;
ALTER TABLE users
    DROP COLUMN given_name,
    DROP COLUMN family_name;
