-- Every schema object of this database that a migration can make, change or forget, one row each:
--   kind, name, parent (the table it belongs to, or ''), position (columns and enum values, else 0), definition.
-- Left out: system schemas, what belongs to an extension (the extension itself is listed), toast, and Squizzle's own
-- bookkeeping. Roles, tablespaces and settings are of the cluster, not of the database.
WITH spaces AS (
    SELECT n.oid, n.nspname, n.nspowner, n.nspacl
    FROM pg_namespace n
    WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'squizzle')
      AND n.nspname NOT LIKE 'pg\_temp\_%%' AND n.nspname NOT LIKE 'pg\_toast\_temp\_%%'
      AND (%(schema)s::text IS NULL OR n.nspname = %(schema)s::text)
), owned AS (
    SELECT d.classid, d.objid FROM pg_depend d WHERE d.deptype = 'e'
), relations AS (
    SELECT c.*, s.nspname, format('%%I.%%I', s.nspname, c.relname) AS full_name
    FROM pg_class c JOIN spaces s ON s.oid = c.relnamespace
    WHERE c.relname NOT IN ('squizzle_history', 'squizzle_history_pkey', 'squizzle_history_id_seq')
      AND NOT EXISTS (SELECT 1 FROM owned o WHERE o.classid = 'pg_class'::regclass AND o.objid = c.oid)
), functions AS (
    SELECT p.*, format('%%I.%%I(%%s)', s.nspname, p.proname, pg_get_function_identity_arguments(p.oid)) AS full_name
    FROM pg_proc p JOIN spaces s ON s.oid = p.pronamespace
    WHERE NOT EXISTS (SELECT 1 FROM owned o WHERE o.classid = 'pg_proc'::regclass AND o.objid = p.oid)
), types AS (
    SELECT t.*, format('%%I.%%I', s.nspname, t.typname) AS full_name
    FROM pg_type t JOIN spaces s ON s.oid = t.typnamespace
    WHERE t.typtype IN ('e', 'd', 'c', 'r')
      AND (t.typtype <> 'c' OR EXISTS (SELECT 1 FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c'))
      AND NOT EXISTS (SELECT 1 FROM owned o WHERE o.classid = 'pg_type'::regclass AND o.objid = t.oid)
)
SELECT 'schema' AS kind, quote_ident(s.nspname) AS name, '' AS parent, 0 AS position,
       concat_ws(' ', 'owner', pg_get_userbyid(s.nspowner), 'acl', s.nspacl::text,
                 'comment', quote_nullable(obj_description(s.oid, 'pg_namespace'))) AS definition
FROM spaces s
UNION ALL
SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence'
                      WHEN 'f' THEN 'foreign table' ELSE 'table' END,
       c.full_name, '', 0,
       concat_ws(' ', 'kind', c.relkind, 'owner', pg_get_userbyid(c.relowner), 'persistence', c.relpersistence,
                 'options', c.reloptions::text, 'acl', c.relacl::text,
                 'rls', c.relrowsecurity, c.relforcerowsecurity, 'replica identity', c.relreplident,
                 'method', (SELECT am.amname FROM pg_am am WHERE am.oid = c.relam),
                 'partition by', pg_get_partkeydef(c.oid), 'bound', pg_get_expr(c.relpartbound, c.oid),
                 'of type', CASE WHEN c.reloftype <> 0 THEN format_type(c.reloftype, NULL) END,
                 'parents', (SELECT string_agg(i.inhparent::regclass::text, ',' ORDER BY i.inhseqno)
                             FROM pg_inherits i WHERE i.inhrelid = c.oid),
                 'comment', quote_nullable(obj_description(c.oid, 'pg_class')),
                 CASE WHEN c.relkind = 'm' THEN 'populated ' || c.relispopulated END)
FROM relations c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
UNION ALL
SELECT 'view definition', c.full_name, '', 0, pg_get_viewdef(c.oid)
FROM relations c WHERE c.relkind IN ('v', 'm')
UNION ALL
SELECT 'column', format('%%s.%%I', c.full_name, a.attname), c.full_name,
       row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum)::int,
       concat_ws(' ', format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'not null' END,
                 'collation', (SELECT co.collname FROM pg_collation co
                               WHERE co.oid = a.attcollation AND co.oid <> (SELECT t.typcollation FROM pg_type t
                                                                            WHERE t.oid = a.atttypid)),
                 'identity', nullif(a.attidentity::text, ''), 'generated', nullif(a.attgenerated::text, ''),
                 'storage', a.attstorage, 'compression', nullif(a.attcompression::text, ''),
                 'statistics', nullif(a.attstattarget::text, '-1'), 'options', a.attoptions::text,
                 'acl', a.attacl::text, 'local', a.attislocal,
                 'comment', quote_nullable(col_description(c.oid, a.attnum)))
FROM relations c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c') AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT 'default', format('%%s.%%I', c.full_name, a.attname), c.full_name, 0, pg_get_expr(d.adbin, d.adrelid)
FROM relations c JOIN pg_attribute a ON a.attrelid = c.oid
JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
UNION ALL
SELECT 'constraint', format('%%s.%%I', c.full_name, k.conname), c.full_name, 0, pg_get_constraintdef(k.oid)
FROM relations c JOIN pg_constraint k ON k.conrelid = c.oid
WHERE k.contype <> 'n'  -- PostgreSQL 18 has NOT NULL here too; the column says it on every version
UNION ALL
SELECT 'constraint state', format('%%s.%%I', c.full_name, k.conname), c.full_name, 0,
       concat_ws(' ', 'validated', k.convalidated, CASE WHEN k.contype = 'c' THEN 'inherit ' || NOT k.connoinherit END,
                 'comment', quote_nullable(obj_description(k.oid, 'pg_constraint')))
FROM relations c JOIN pg_constraint k ON k.conrelid = c.oid
WHERE k.contype <> 'n'
UNION ALL
-- Whether a constraint was made here or comes from a parent: for partitions a dump does not bring it back the same.
SELECT 'constraint origin', format('%%s.%%I', c.full_name, k.conname), c.full_name, 0,
       concat_ws(' ', 'local', k.conislocal, 'inherit', NOT k.connoinherit)
FROM relations c JOIN pg_constraint k ON k.conrelid = c.oid
WHERE k.contype <> 'n'
UNION ALL
SELECT 'index', format('%%I.%%I', c.nspname, i.relname), c.full_name, 0, pg_get_indexdef(x.indexrelid)
FROM relations c JOIN pg_index x ON x.indrelid = c.oid JOIN pg_class i ON i.oid = x.indexrelid
UNION ALL
SELECT 'index state', format('%%I.%%I', c.nspname, i.relname), c.full_name, 0,
       concat_ws(' ', 'valid', x.indisvalid, 'clustered', x.indisclustered, 'replica identity', x.indisreplident,
                 'statistics', (SELECT string_agg(a.attnum || '=' || a.attstattarget, ',' ORDER BY a.attnum)
                                FROM pg_attribute a WHERE a.attrelid = i.oid AND a.attstattarget >= 0),
                 'parent', (SELECT h.inhparent::regclass::text FROM pg_inherits h WHERE h.inhrelid = i.oid),
                 'comment', quote_nullable(obj_description(i.oid, 'pg_class')))
FROM relations c JOIN pg_index x ON x.indrelid = c.oid JOIN pg_class i ON i.oid = x.indexrelid
UNION ALL
SELECT 'trigger', format('%%s.%%I', c.full_name, t.tgname), c.full_name, 0, pg_get_triggerdef(t.oid)
FROM relations c JOIN pg_trigger t ON t.tgrelid = c.oid WHERE NOT t.tgisinternal
UNION ALL
SELECT 'trigger state', format('%%s.%%I', c.full_name, t.tgname), c.full_name, 0,
       concat_ws(' ', 'enabled', t.tgenabled, 'comment', quote_nullable(obj_description(t.oid, 'pg_trigger')))
FROM relations c JOIN pg_trigger t ON t.tgrelid = c.oid WHERE NOT t.tgisinternal
UNION ALL
-- The triggers that enforce foreign keys have no name of their own; DISABLE TRIGGER ALL turns them off in silence.
SELECT 'constraint triggers', c.full_name, c.full_name, 0, string_agg(DISTINCT t.tgenabled::text, '')
FROM relations c JOIN pg_trigger t ON t.tgrelid = c.oid WHERE t.tgisinternal GROUP BY c.full_name
UNION ALL
SELECT 'rule', format('%%s.%%I', c.full_name, r.rulename), c.full_name, 0,
       concat_ws(' ', pg_get_ruledef(r.oid), 'enabled', r.ev_enabled)
FROM relations c JOIN pg_rewrite r ON r.ev_class = c.oid WHERE r.rulename <> '_RETURN'
UNION ALL
SELECT 'policy', format('%%s.%%I', c.full_name, p.polname), c.full_name, 0,
       concat_ws(' ', p.polcmd, p.polpermissive,
                 (SELECT string_agg(CASE r WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r) END, ',' ORDER BY 1)
                  FROM unnest(p.polroles) r),
                 'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid))
FROM relations c JOIN pg_policy p ON p.polrelid = c.oid
UNION ALL
SELECT 'sequence', c.full_name, '', 0,
       concat_ws(' ', format_type(s.seqtypid, NULL), 'start', s.seqstart, 'increment', s.seqincrement,
                 'min', s.seqmin, 'max', s.seqmax, 'cache', s.seqcache, 'cycle', s.seqcycle,
                 'owner', pg_get_userbyid(c.relowner), 'acl', c.relacl::text,
                 'owned by', (SELECT format('%%s.%%I', d.refobjid::regclass, a.attname)
                              FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
                              WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')
                                AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 LIMIT 1),
                 'comment', quote_nullable(obj_description(c.oid, 'pg_class')))
FROM relations c JOIN pg_sequence s ON s.seqrelid = c.oid
UNION ALL
SELECT 'function', p.full_name, '', 0,
       concat_ws(' ', CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid)
                           ELSE (SELECT concat_ws(' ', 'aggregate', g.aggkind, g.aggtransfn::text, g.aggfinalfn::text,
                                                  format_type(g.aggtranstype, NULL), g.agginitval)
                                 FROM pg_aggregate g WHERE g.aggfnoid = p.oid) END,
                 'owner', pg_get_userbyid(p.proowner), 'acl', p.proacl::text,
                 'comment', quote_nullable(obj_description(p.oid, 'pg_proc')))
FROM functions p
UNION ALL
SELECT 'type', t.full_name, '', 0,
       concat_ws(' ', 'kind', t.typtype, 'owner', pg_get_userbyid(t.typowner), 'acl', t.typacl::text,
                 CASE WHEN t.typtype = 'd' THEN
                     concat_ws(' ', format_type(t.typbasetype, t.typtypmod), 'not null', t.typnotnull,
                               'default', t.typdefault) END,
                 CASE WHEN t.typtype = 'r' THEN
                     (SELECT format_type(r.rngsubtype, NULL) FROM pg_range r WHERE r.rngtypid = t.oid) END,
                 'comment', quote_nullable(obj_description(t.oid, 'pg_type')))
FROM types t
UNION ALL
SELECT 'enum value', format('%%s.%%L', t.full_name, e.enumlabel), t.full_name,
       row_number() OVER (PARTITION BY t.oid ORDER BY e.enumsortorder)::int, e.enumlabel
FROM types t JOIN pg_enum e ON e.enumtypid = t.oid
UNION ALL
SELECT 'domain constraint', format('%%s.%%I', t.full_name, k.conname), t.full_name, 0,
       concat_ws(' ', pg_get_constraintdef(k.oid), 'validated', k.convalidated)
FROM types t JOIN pg_constraint k ON k.contypid = t.oid WHERE k.contype <> 'n'
UNION ALL
SELECT 'statistics', format('%%I.%%I', s.nspname, x.stxname), x.stxrelid::regclass::text, 0,
       pg_get_statisticsobjdef(x.oid)
FROM pg_statistic_ext x JOIN spaces s ON s.oid = x.stxnamespace
UNION ALL
SELECT 'collation', format('%%I.%%I', s.nspname, c.collname), '', 0,
       concat_ws(' ', c.collprovider, c.collisdeterministic, c.collcollate, c.collctype)
FROM pg_collation c JOIN spaces s ON s.oid = c.collnamespace
UNION ALL
SELECT 'operator', o.oid::regoperator::text, '', 0,
       concat_ws(' ', o.oprcode::text, o.oprcom::regoperator::text, o.oprnegate::regoperator::text,
                 o.oprcanmerge, o.oprcanhash)
FROM pg_operator o JOIN spaces s ON s.oid = o.oprnamespace
WHERE NOT EXISTS (SELECT 1 FROM owned e WHERE e.classid = 'pg_operator'::regclass AND e.objid = o.oid)
UNION ALL
SELECT 'text search configuration', format('%%I.%%I', s.nspname, t.cfgname), '', 0,
       (SELECT string_agg(concat_ws(' ', m.maptokentype, m.mapseqno, m.mapdict::regdictionary::text), ','
                          ORDER BY m.maptokentype, m.mapseqno) FROM pg_ts_config_map m WHERE m.mapcfg = t.oid)
FROM pg_ts_config t JOIN spaces s ON s.oid = t.cfgnamespace
WHERE NOT EXISTS (SELECT 1 FROM owned e WHERE e.classid = 'pg_ts_config'::regclass AND e.objid = t.oid)
UNION ALL
SELECT 'default privileges', concat_ws(' ', pg_get_userbyid(d.defaclrole), s.nspname, d.defaclobjtype), '', 0,
       d.defaclacl::text
FROM pg_default_acl d LEFT JOIN spaces s ON s.oid = d.defaclnamespace
WHERE d.defaclnamespace = 0 OR s.oid IS NOT NULL
UNION ALL
-- Objects of the whole database; not part of a digest of one schema.
SELECT 'extension', quote_ident(e.extname), '', 0, concat_ws(' ', e.extversion, 'in', e.extnamespace::regnamespace::text)
FROM pg_extension e WHERE %(schema)s::text IS NULL
UNION ALL
SELECT 'event trigger', quote_ident(t.evtname), '', 0,
       concat_ws(' ', t.evtevent, t.evtfoid::regprocedure::text, t.evtenabled, t.evttags::text)
FROM pg_event_trigger t
WHERE %(schema)s::text IS NULL
  AND NOT EXISTS (SELECT 1 FROM owned o WHERE o.classid = 'pg_event_trigger'::regclass AND o.objid = t.oid)
UNION ALL
SELECT 'publication', quote_ident(p.pubname), '', 0,
       concat_ws(' ', p.puballtables, p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate, p.pubviaroot,
                 (SELECT string_agg(format('%%I.%%I', t.schemaname, t.tablename), ',' ORDER BY t.schemaname, t.tablename)
                  FROM pg_publication_tables t WHERE t.pubname = p.pubname))
FROM pg_publication p WHERE %(schema)s::text IS NULL
UNION ALL
SELECT 'foreign server', quote_ident(f.srvname), '', 0,
       concat_ws(' ', w.fdwname, f.srvtype, f.srvversion, 'acl', f.srvacl::text)
FROM pg_foreign_server f JOIN pg_foreign_data_wrapper w ON w.oid = f.srvfdw WHERE %(schema)s::text IS NULL
UNION ALL
SELECT 'cast', concat_ws(' ', format_type(c.castsource, NULL), 'as', format_type(c.casttarget, NULL)), '', 0,
       concat_ws(' ', c.castfunc::regprocedure::text, c.castcontext, c.castmethod)
FROM pg_cast c
WHERE %(schema)s::text IS NULL AND c.oid >= 16384
  AND NOT EXISTS (SELECT 1 FROM owned o WHERE o.classid = 'pg_cast'::regclass AND o.objid = c.oid)
