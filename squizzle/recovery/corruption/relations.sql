-- Every relation of the database that has a file: what it is, whose it is, where it lies.
-- The last two columns are the table whose index or long values it is, and that table's kind.
WITH owner AS (
    SELECT c.oid,
           coalesce(t.oid, h.oid, i.indrelid, c.oid) AS table_oid
    FROM pg_class c
    LEFT JOIN pg_index i ON i.indexrelid = c.oid
    LEFT JOIN pg_class t ON t.reltoastrelid = c.oid AND c.relkind = 't'
    LEFT JOIN pg_class h ON h.reltoastrelid = i.indrelid
)
SELECT c.oid::bigint AS oid,
       format('%I.%I', n.nspname, c.relname) AS name,
       n.nspname AS schema,
       c.relname AS bare_name,
       c.relkind AS kind,
       c.relpersistence AS persistence,
       coalesce(a.amname, '') AS method,
       pg_relation_filepath(c.oid) AS file,
       format('%I.%I', tn.nspname, t.relname) AS table_name,
       t.relkind AS table_kind,
       t.oid < 16384 AS is_catalogue,
       i.indrelid IN (SELECT o.reltoastrelid FROM pg_class o) AS is_toast_index,
       pg_relation_size(c.oid) / current_setting('block_size')::bigint AS pages,
       c.relpages AS pages_once
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN owner o ON o.oid = c.oid
JOIN pg_class t ON t.oid = o.table_oid
JOIN pg_namespace tn ON tn.oid = t.relnamespace
LEFT JOIN pg_index i ON i.indexrelid = c.oid
LEFT JOIN pg_am a ON a.oid = c.relam
WHERE c.relkind IN ('r', 'i', 't', 'm', 'S') AND pg_relation_filepath(c.oid) IS NOT NULL
ORDER BY 2
