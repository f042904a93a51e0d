-- What every waiting session of this database waits for, and who holds it. pg_blocking_pids answers for a leader and
-- its workers together and names a prepared transaction 0; which one that is, pg_locks knows: it holds the very same
-- lock, has no process, and like every transaction that writes holds one on its own number. The lock manager stands still for a moment for each pg_blocking_pids, so only those who
-- wait are asked about.
WITH waiting AS (
    SELECT DISTINCT ON (coalesce(a.leader_pid, a.pid)) coalesce(a.leader_pid, a.pid) AS pid, l.*
    FROM (SELECT pid AS waiter, locktype, database, relation, page, tuple, virtualxid, transactionid, classid, objid,
                 objsubid, mode, waitstart
          FROM pg_locks WHERE NOT granted) l
    JOIN pg_stat_activity a ON a.pid = l.waiter
    WHERE a.datname = current_database()
    ORDER BY 1, l.waitstart
)
SELECT w.pid, w.waitstart AS since, w.locktype AS kind, w.mode,
       CASE WHEN w.relation IS NULL THEN ''
            WHEN w.database = (SELECT oid FROM pg_database WHERE datname = current_database()) OR w.database = 0
            THEN coalesce((SELECT format('%%I.%%I', n.nspname, c.relname) FROM pg_class c
                           JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = w.relation), w.relation::text)
            ELSE w.relation::text END AS relation,
       ARRAY(SELECT DISTINCT b FROM unnest(pg_blocking_pids(w.pid)) AS b ORDER BY b) AS blockers,
       ARRAY(
           SELECT p.gid || E'\n' || h.mode
           FROM pg_locks h
           JOIN pg_locks own ON own.pid IS NULL AND own.locktype = 'transactionid'
                            AND own.virtualtransaction = h.virtualtransaction
           JOIN pg_prepared_xacts p ON p.transaction = own.transactionid
           WHERE h.pid IS NULL AND h.granted AND h.locktype = w.locktype
             AND (h.database, h.relation, h.page, h.tuple, h.virtualxid, h.transactionid, h.classid, h.objid, h.objsubid)
                 IS NOT DISTINCT FROM
                 (w.database, w.relation, w.page, w.tuple, w.virtualxid, w.transactionid, w.classid, w.objid, w.objsubid)
       ) AS prepared
FROM waiting w
ORDER BY w.waitstart NULLS LAST, w.pid
