-- What was left half-done in a database: indexes that no query uses, constraints that old rows may break.
SELECT 'index', n.nspname, t.relname, i.relname,
       format('DROP INDEX CONCURRENTLY %%I.%%I', n.nspname, i.relname)
FROM pg_index x
JOIN pg_class i ON i.oid = x.indexrelid
JOIN pg_class t ON t.oid = x.indrelid
JOIN pg_namespace n ON n.oid = i.relnamespace
WHERE NOT x.indisvalid AND n.nspname !~ '^(pg_|information_schema$)'
UNION ALL
SELECT 'constraint', n.nspname, t.relname, k.conname,
       format('ALTER TABLE %%I.%%I VALIDATE CONSTRAINT %%I', n.nspname, t.relname, k.conname)
FROM pg_constraint k
JOIN pg_class t ON t.oid = k.conrelid
JOIN pg_namespace n ON n.oid = t.relnamespace
-- NOT ENFORCED (18 and later) is never validated, and meant so.
WHERE NOT k.convalidated AND coalesce((to_jsonb(k) ->> 'conenforced')::boolean, true)
  AND n.nspname !~ '^(pg_|information_schema$)'
ORDER BY 1 DESC, 2, 3, 4
