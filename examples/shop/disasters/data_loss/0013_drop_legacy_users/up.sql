-- Why: accounts live in the identity service now, and nothing in the new code reads users any more.
-- CASCADE because of some old views that depend on it.
-- Lock: ACCESS EXCLUSIVE on users and on everything that refers to it, for an instant.

DROP TABLE users CASCADE;
