-- Ends one session, or just looks whether it is there (%(how)s: terminate, cancel, look), if it still is the one that
-- was looked at, in the same state: a number is used again by a later process. No row when it is not.
SELECT CASE %(how)s WHEN 'terminate' THEN pg_terminate_backend(a.pid, %(patience_ms)s)
                    WHEN 'cancel' THEN pg_cancel_backend(a.pid)
                    ELSE true END
FROM pg_stat_activity a
WHERE a.pid = %(pid)s AND a.backend_start = %(backend_start)s
  AND a.xact_start IS NOT DISTINCT FROM %(transaction_start)s
  AND a.query_start IS NOT DISTINCT FROM %(query_start)s
  AND a.state_change IS NOT DISTINCT FROM %(state_change)s
  AND a.state IS NOT DISTINCT FROM %(state)s
