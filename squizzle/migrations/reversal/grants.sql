-- Who may do what with one object, default privileges written out; privileges on columns follow. Empty for kinds
-- without privileges.
WITH one AS (
    SELECT c.relacl AS acl, CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END AS kind, c.relowner AS owner
    FROM pg_class c WHERE %(catalogue)s = 'pg_class'::regclass AND c.oid = %(oid)s
    UNION ALL SELECT n.nspacl, 'n', n.nspowner FROM pg_namespace n
    WHERE %(catalogue)s = 'pg_namespace'::regclass AND n.oid = %(oid)s
    UNION ALL SELECT p.proacl, 'f', p.proowner FROM pg_proc p
    WHERE %(catalogue)s = 'pg_proc'::regclass AND p.oid = %(oid)s
    UNION ALL SELECT t.typacl, 'T', t.typowner FROM pg_type t
    WHERE %(catalogue)s = 'pg_type'::regclass AND t.oid = %(oid)s
    UNION ALL SELECT l.lanacl, 'l', l.lanowner FROM pg_language l
    WHERE %(catalogue)s = 'pg_language'::regclass AND l.oid = %(oid)s
    UNION ALL SELECT w.fdwacl, 'F', w.fdwowner FROM pg_foreign_data_wrapper w
    WHERE %(catalogue)s = 'pg_foreign_data_wrapper'::regclass AND w.oid = %(oid)s
    UNION ALL SELECT f.srvacl, 'S', f.srvowner FROM pg_foreign_server f
    WHERE %(catalogue)s = 'pg_foreign_server'::regclass AND f.oid = %(oid)s
    UNION ALL SELECT d.datacl, 'd', d.datdba FROM pg_database d
    WHERE %(catalogue)s = 'pg_database'::regclass AND d.oid = %(oid)s
)
SELECT coalesce(quote_ident(pg_get_userbyid(nullif(x.grantee, 0))), 'PUBLIC'), x.privilege_type, x.is_grantable, ''
FROM one, aclexplode(coalesce(one.acl, acldefault(one.kind::"char", one.owner))) x
UNION ALL
SELECT coalesce(quote_ident(pg_get_userbyid(nullif(x.grantee, 0))), 'PUBLIC'), x.privilege_type, x.is_grantable,
       quote_ident(a.attname)
FROM pg_attribute a, aclexplode(a.attacl) x
WHERE %(catalogue)s = 'pg_class'::regclass AND a.attrelid = %(oid)s AND NOT a.attisdropped
ORDER BY 4, 1, 2
