-- The triggers of one table and its partitions, or of every table; with the foreign key that one enforces, by its topmost constraint.
WITH RECURSIVE keys AS (
    SELECT oid AS id, oid AS top FROM pg_constraint WHERE contype = 'f' AND conparentid = 0
    UNION ALL
    SELECT c.oid, keys.top FROM pg_constraint c JOIN keys ON c.conparentid = keys.id WHERE c.contype = 'f'
)
SELECT n.nspname::text AS schema, c.relname::text AS "table", t.tgrelid::bigint AS table_id, t.oid::bigint AS id,
       CASE WHEN keys.top IS NULL THEN t.tgname::text
            ELSE format('%%s of %%s.%%s', own.conname, own_n.nspname, own_c.relname) END AS name,
       t.tgname::text AS server_name, t.tgenabled::text AS mode,
       CASE WHEN keys.top IS NOT NULL THEN 'foreign key'
            WHEN t.tgisinternal AND (t.tgparentid = 0 OR own.contype IN ('p', 'u', 'x')) THEN 'internal'
            WHEN fn.nspname = 'squizzle_log' THEN 'change log'
            WHEN t.tgconstraint <> 0 THEN 'constraint'
            ELSE 'user' END AS kind,
       format('%%s.%%s', fn.nspname, p.proname) AS function,
       CASE WHEN t.tgisinternal THEN '' ELSE pg_get_triggerdef(t.oid, true) END AS definition,
       keys.top::bigint AS key_id
FROM pg_trigger t
JOIN pg_class c ON c.oid = t.tgrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_proc p ON p.oid = t.tgfoid
JOIN pg_namespace fn ON fn.oid = p.pronamespace
LEFT JOIN pg_constraint own ON own.oid = t.tgconstraint
LEFT JOIN keys ON keys.id = own.oid
LEFT JOIN pg_class own_c ON own_c.oid = own.conrelid
LEFT JOIN pg_namespace own_n ON own_n.oid = own_c.relnamespace
WHERE c.relkind IN ('r', 'p', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'squizzle')
  AND (%(table)s::oid IS NULL OR t.tgrelid = %(table)s::oid
       OR t.tgrelid IN (SELECT relid FROM pg_partition_tree(%(table)s::oid::regclass)))
ORDER BY n.nspname, c.relname, kind DESC, name, function
