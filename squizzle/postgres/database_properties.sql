-- What belongs to a database itself and stays with the old one when two databases swap names: a dump of the content
-- does not carry it. One row; the lists come as JSON so that names need no unquoting.
SELECT pg_get_userbyid(d.datdba) AS owner,
       d.datconnlimit AS connection_limit,
       shobj_description(d.oid, 'pg_database') AS comment,
       pg_encoding_to_char(d.encoding) AS encoding,
       d.datcollate AS lc_collate,
       d.datctype AS lc_ctype,
       d.datlocprovider::text AS locale_provider,
       coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale') AS locale,  -- renamed in PostgreSQL 17
       (SELECT t.spcname FROM pg_tablespace t WHERE t.oid = d.dattablespace) AS tablespace,
       CASE WHEN d.datacl IS NOT NULL THEN
           (SELECT coalesce(jsonb_agg(jsonb_build_array(coalesce(g.rolname, ''), g.privilege_type, g.is_grantable)
                                      ORDER BY g.rolname NULLS FIRST, g.privilege_type), '[]')
            -- Two may have granted the same; the new database has one owner, who grants everything.
            FROM (SELECT r.rolname, a.privilege_type, bool_or(a.is_grantable) AS is_grantable
                  FROM aclexplode(d.datacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
                  GROUP BY r.rolname, a.privilege_type) g) END AS grants,
       (SELECT coalesce(jsonb_agg(jsonb_build_array(coalesce(r.rolname, ''), c.setting)
                                  ORDER BY r.rolname NULLS FIRST, c.setting), '[]')
        FROM pg_db_role_setting s CROSS JOIN LATERAL unnest(s.setconfig) AS c(setting)
        LEFT JOIN pg_roles r ON r.oid = s.setrole
        WHERE s.setdatabase = d.oid) AS settings,
       d.datistemplate AS is_template
FROM pg_database d
WHERE d.datname = %(database)s
