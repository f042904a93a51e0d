-- What goes with what (manual, pg_depend): the dependent object, what it depends on, and how. Objects of the server
-- itself, which nobody drops, are left out.
SELECT classid::regclass::text, objid::bigint, objsubid, refclassid::regclass::text, refobjid::bigint, refobjsubid,
       deptype::text
FROM pg_depend
WHERE refobjid >= 16384 AND deptype IN ('n', 'a', 'i', 'P', 'S', 'x')
  AND classid IN ('pg_class'::regclass, 'pg_constraint'::regclass, 'pg_trigger'::regclass, 'pg_rewrite'::regclass,
                  'pg_policy'::regclass, 'pg_attrdef'::regclass, 'pg_statistic_ext'::regclass, 'pg_type'::regclass,
                  'pg_proc'::regclass)
  AND refclassid IN ('pg_class'::regclass, 'pg_constraint'::regclass, 'pg_trigger'::regclass, 'pg_rewrite'::regclass,
                     'pg_policy'::regclass, 'pg_attrdef'::regclass, 'pg_type'::regclass, 'pg_proc'::regclass)
ORDER BY 4, 5, 6, 1, 2, 3
