-- Prepared transactions of this database; they have no session, and hold their locks until somebody decides.
SELECT gid, owner, prepared AS since FROM pg_prepared_xacts WHERE database = current_database() ORDER BY prepared
