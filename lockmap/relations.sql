-- Every relation of ours: its file, and the table it belongs to as an index or as TOAST.
SELECT c.oid, c.relname, c.relkind::text, pg_relation_filenode(c.oid), i.indrelid, t.oid
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_index i ON i.indexrelid = c.oid
LEFT JOIN pg_class t ON t.reltoastrelid = c.oid
WHERE c.oid >= 16384 AND n.nspname IN ('public', 'pg_toast')
ORDER BY c.relname
