-- What somebody's new objects of a kind are granted to whom: all of it for a whole database, and what is added in one
-- schema.
SELECT coalesce(quote_ident(pg_get_userbyid(nullif(x.grantee, 0))), 'PUBLIC'), x.privilege_type, x.is_grantable
FROM (SELECT r.oid AS role, n.oid AS space, d.defaclacl AS acl
      FROM pg_roles r LEFT JOIN pg_namespace n ON n.nspname = %(schema)s::text
      LEFT JOIN pg_default_acl d ON d.defaclrole = r.oid AND d.defaclnamespace = coalesce(n.oid, 0)
                                AND d.defaclobjtype = %(kind)s::"char"
      WHERE r.rolname = coalesce(%(role)s::text, current_user)) AS one,
     aclexplode(coalesce(one.acl, CASE WHEN %(schema)s::text IS NULL THEN
         acldefault((CASE %(kind)s WHEN 'S' THEN 's' ELSE %(kind)s END)::"char", one.role) END)) AS x
ORDER BY 1, 2
