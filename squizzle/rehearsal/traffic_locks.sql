-- Who holds, or waits for, a lock on some tables or on their indexes; a prepared transaction has no process, and is
-- known by the lock on its own number.
SELECT DISTINCT o.root::bigint, l.pid, coalesce(p.gid, ''), l.mode, l.granted
FROM (
    SELECT asked AS root, asked AS oid FROM unnest(%(tables)s::oid[]) AS asked
    UNION
    SELECT asked, i.indexrelid FROM unnest(%(tables)s::oid[]) AS asked JOIN pg_index i ON i.indrelid = asked
) o
JOIN pg_locks l ON l.relation = o.oid AND l.locktype = 'relation'
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
LEFT JOIN pg_locks own ON l.pid IS NULL AND own.pid IS NULL AND own.locktype = 'transactionid'
    AND own.virtualtransaction = l.virtualtransaction
LEFT JOIN pg_prepared_xacts p ON p.transaction = own.transactionid
WHERE l.pid IS DISTINCT FROM pg_backend_pid()
ORDER BY 1, 2
