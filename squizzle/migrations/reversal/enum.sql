-- One enumerated type: its labels, the columns of tables that have it, and everything else that depends on it.
SELECT format('%%I.%%I', n.nspname, t.typname), n.nspname, t.typname,
       ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder),
       coalesce((SELECT jsonb_agg(jsonb_build_object('table', c.oid::regclass::text, 'name', quote_ident(a.attname),
                                                     'array', a.atttypid = t.typarray,
                                                     'default', pg_get_expr(d.adbin, d.adrelid))
                                  ORDER BY c.oid::regclass::text, a.attnum)
                 FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
                 LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
                 WHERE a.atttypid IN (t.oid, t.typarray) AND c.relkind IN ('r', 'p', 'f') AND NOT a.attisdropped
                   AND a.attinhcount = 0), '[]'),
       ARRAY(SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid) FROM pg_depend d
             WHERE d.refclassid = 'pg_type'::regclass AND d.refobjid IN (t.oid, t.typarray) AND d.deptype = 'n'
               AND NOT (d.classid = 'pg_class'::regclass AND d.objsubid > 0) ORDER BY 1)
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.oid = %(oid)s AND t.typtype = 'e'
