-- What hangs on tables without being one, and what columns are made of: class, OID, schema, name, its table, the other
-- table (of a foreign key), and the kind of a constraint.
SELECT 'pg_constraint', oid::bigint, '', conname, conrelid::bigint, confrelid::bigint, contype::text FROM pg_constraint
WHERE conrelid <> 0
UNION ALL
SELECT 'pg_trigger', oid, '', tgname, tgrelid, 0, '' FROM pg_trigger
UNION ALL
SELECT 'pg_rewrite', oid, '', rulename, ev_class, 0, '' FROM pg_rewrite WHERE oid >= 16384
UNION ALL
SELECT 'pg_policy', oid, '', polname, polrelid, 0, '' FROM pg_policy
UNION ALL
SELECT 'pg_attrdef', oid, '', adnum::text, adrelid, 0, '' FROM pg_attrdef
UNION ALL
SELECT 'pg_statistic_ext', oid, '', stxname, stxrelid, 0, '' FROM pg_statistic_ext
UNION ALL
SELECT 'pg_type', t.oid, n.nspname, t.typname, 0, 0, '' FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE t.oid >= 16384 AND t.typtype IN ('d', 'e', 'c', 'r') AND n.nspname !~ '^pg_'
UNION ALL
SELECT 'pg_proc', p.oid, n.nspname, p.proname, 0, 0, '' FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.oid >= 16384 AND n.nspname !~ '^pg_'
ORDER BY 1, 2
