-- Changes of one table, the newest transaction first: by its last change in the whole log, then backwards.
WITH wanted AS (
    SELECT DISTINCT xid, began_at FROM squizzle_log.change
    WHERE logged = ANY (%(logged)s)
      AND CASE WHEN %(snapshot)s::pg_snapshot IS NULL THEN logged_at >= %(at)s::timestamptz
               ELSE NOT pg_visible_in_snapshot(xid, %(snapshot)s::pg_snapshot)
                   AND (xid < pg_snapshot_xmax(%(snapshot)s::pg_snapshot) OR id > %(position)s::bigint) END
), placed AS (
    SELECT xid, began_at, max(id) AS last FROM squizzle_log.change JOIN wanted USING (xid, began_at)
    GROUP BY xid, began_at
)
SELECT c.id, c.xid::text::bigint, c.logged_at, c.operation, c.on_schema, c.on_table, c.session_user_name, c.role_name,
       c.application, t.key_columns, c.old::text, c.new::text, c.old_exact, c.new_exact
FROM squizzle_log.change c JOIN placed USING (xid, began_at) JOIN squizzle_log.logged_table t ON t.id = c.logged
WHERE c.logged = ANY (%(logged)s)
ORDER BY placed.last DESC, c.id DESC
