-- What has the name of our view, and which histories it reads; no row where nothing has.
SELECT c.relkind = 'v' AS is_view,
       coalesce(obj_description(c.oid, 'pg_class'), '') AS comment,
       ARRAY(SELECT DISTINCT n.nspname::text
               FROM pg_rewrite r
               JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
               JOIN pg_class h ON h.oid = d.refobjid AND h.relname = %(history)s
               JOIN pg_namespace n ON n.oid = h.relnamespace
              WHERE r.ev_class = c.oid
              ORDER BY 1) AS schemas
  FROM pg_class c
 WHERE c.oid = to_regclass('squizzle.health_check')
