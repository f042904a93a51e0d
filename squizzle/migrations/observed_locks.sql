-- The relation locks that a session holds, as another session sees them: only relations that were committed before are
-- in its catalogue, so what the watched transaction itself made is left out. A lock on an index counts only when it is
-- ACCESS EXCLUSIVE and the lock on its table is weaker; otherwise it goes with the table's.
WITH held AS (
    SELECT relation, mode FROM pg_locks
    WHERE pid = %(pid)s AND granted AND locktype = 'relation' AND mode NOT IN ('AccessShareLock', 'RowShareLock')
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
)
SELECT n.nspname, c.relname, h.mode
FROM held h
JOIN pg_class c ON c.oid = h.relation
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_index i ON i.indexrelid = c.oid
WHERE n.nspname !~ '^(pg_|information_schema$|squizzle$)' AND c.relname !~ '^squizzle_history'
  AND (
      i.indexrelid IS NULL
      OR (h.mode = 'AccessExclusiveLock'
          AND NOT EXISTS (SELECT FROM held o WHERE o.relation = i.indrelid AND o.mode = 'AccessExclusiveLock'))
  )
ORDER BY 1, 2, 3
