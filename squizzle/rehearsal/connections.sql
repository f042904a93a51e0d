-- How many connections ordinary roles may have in all, and in this database (-1 for no limit of its own).
SELECT d.datname, clock_timestamp(),
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
           - coalesce(nullif(current_setting('reserved_connections', true), ''), '0')::int,
       d.datconnlimit
FROM pg_database d WHERE d.datname = current_database()
