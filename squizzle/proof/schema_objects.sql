-- Every schema object of this database that a migration can make, change or forget, one row each:
--   kind, name, parent (what it belongs to, or ''), position (columns and enum values, else 0), definition.
-- An expression has a row of its own, so that it can be brought into one spelling; what else there is to say about its
-- object is in a row beside it ("... state").
-- Privileges are written out where they are the default ones, and lists are sorted: a GRANT that was revoked again
-- leaves such a list where NULL was, and a dump brings back what they mean, not how they came about.
-- Left out: system schemas, what belongs to an extension (the extension itself is listed), toast, and Squizzle's own
-- bookkeeping. Roles, tablespaces and settings are of the cluster, not of the database.
WITH spaces AS (
    SELECT n.oid, n.nspname, n.nspowner, n.nspacl
    FROM pg_namespace n
    WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'squizzle', 'squizzle_undo', 'squizzle_salvage')
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
    WHERE t.typtype IN ('b', 'e', 'd', 'c', 'r')
      AND (t.typtype <> 'b' OR t.typsubscript <> 'array_subscript_handler'::regproc)
      AND (t.typtype <> 'c' OR EXISTS (SELECT 1 FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c'))
      AND NOT EXISTS (SELECT 1 FROM owned o WHERE o.classid = 'pg_type'::regclass AND o.objid = t.oid)
)
SELECT 'schema' AS kind, quote_ident(s.nspname) AS name, '' AS parent, 0 AS position,
       concat_ws(' ', 'owner', pg_get_userbyid(s.nspowner),
                 'acl', ARRAY(SELECT i::text COLLATE "C" FROM unnest(coalesce(s.nspacl, acldefault('n', s.nspowner))) i
                              ORDER BY 1)::text,
                 'comment', quote_nullable(obj_description(s.oid, 'pg_namespace'))) AS definition
FROM spaces s
UNION ALL
SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table'
                      ELSE 'table' END,
       c.full_name, '', 0,
       concat_ws(' ', 'kind', c.relkind, 'owner', pg_get_userbyid(c.relowner), 'persistence', c.relpersistence,
                 'options', ARRAY(SELECT o COLLATE "C" FROM unnest(c.reloptions) o ORDER BY 1)::text,
                 'toast options', (SELECT ARRAY(SELECT o COLLATE "C" FROM unnest(x.reloptions) o ORDER BY 1)::text
                                   FROM pg_class x WHERE x.oid = c.reltoastrelid AND x.reloptions IS NOT NULL),
                 'acl', ARRAY(SELECT i::text COLLATE "C" FROM unnest(coalesce(c.relacl, acldefault('r', c.relowner))) i
                              ORDER BY 1)::text,
                 'rls', c.relrowsecurity, c.relforcerowsecurity, 'replica identity', c.relreplident,
                 'method', (SELECT am.amname FROM pg_am am WHERE am.oid = c.relam),
                 'bound', pg_get_expr(c.relpartbound, c.oid),
                 'of type', CASE WHEN c.reloftype <> 0 THEN format_type(c.reloftype, NULL) END,
                 'parents', (SELECT string_agg(concat_ws(' ', i.inhparent::regclass,
                                                         CASE WHEN i.inhdetachpending THEN 'detaching' END),
                                               ',' ORDER BY i.inhseqno)
                             FROM pg_inherits i WHERE i.inhrelid = c.oid),
                 'foreign', (SELECT concat_ws(' ', quote_ident(f.srvname),
                                              ARRAY(SELECT o COLLATE "C" FROM unnest(t.ftoptions) o ORDER BY 1)::text)
                             FROM pg_foreign_table t JOIN pg_foreign_server f ON f.oid = t.ftserver
                             WHERE t.ftrelid = c.oid),
                 'comment', quote_nullable(obj_description(c.oid, 'pg_class')),
                 CASE WHEN c.relkind = 'm' THEN 'populated ' || c.relispopulated END)
FROM relations c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
UNION ALL
SELECT 'partition key', c.full_name, c.full_name, 0, pg_get_partkeydef(c.oid)
FROM relations c WHERE c.relkind = 'p'
UNION ALL
SELECT 'view definition', c.full_name, '', 0, pg_get_viewdef(c.oid)
FROM relations c WHERE c.relkind IN ('v', 'm')
UNION ALL
SELECT 'column', format('%%s.%%I', c.full_name, a.attname), c.full_name,
       row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum)::int,
       concat_ws(' ', format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'not null' END,
                 'collation', (SELECT a.attcollation::regcollation::text FROM pg_type t
                               WHERE t.oid = a.atttypid AND t.typcollation <> a.attcollation),
                 'identity', nullif(a.attidentity::text, ''), 'generated', nullif(a.attgenerated::text, ''),
                 'storage', a.attstorage, 'compression', nullif(a.attcompression::text, ''),
                 'statistics', nullif(a.attstattarget::text, '-1'),
                 -- Debian's 15.20 counts there when a column was made; its pg_dump leaves that out.
                 'options', ARRAY(SELECT o COLLATE "C" FROM unnest(a.attoptions) o
                                  WHERE NOT starts_with(o, 'pg_attver=') ORDER BY 1)::text,
                 'foreign options', ARRAY(SELECT o COLLATE "C" FROM unnest(a.attfdwoptions) o ORDER BY 1)::text,
                 'acl', ARRAY(SELECT i::text COLLATE "C" FROM unnest(a.attacl) i ORDER BY 1)::text,
                 'local', a.attislocal,
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
WHERE k.contype <> 'n'
UNION ALL
-- PostgreSQL 18 has NOT NULL here, too. The column says it on every version, so only what it does not say is listed.
SELECT 'constraint', format('%%s.%%I', c.full_name, k.conname), c.full_name, 0,
       concat_ws(' ', pg_get_constraintdef(k.oid), 'comment', quote_nullable(obj_description(k.oid, 'pg_constraint')))
FROM relations c JOIN pg_constraint k ON k.conrelid = c.oid
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.conkey[1]
WHERE k.contype = 'n'
  AND (k.conname <> concat(c.relname, '_', a.attname, '_not_null') OR NOT k.convalidated OR k.connoinherit
       OR obj_description(k.oid, 'pg_constraint') IS NOT NULL)
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
-- The triggers that enforce a foreign key have no lasting name; DISABLE TRIGGER ALL turns them off in silence.
SELECT 'constraint triggers', format('%%s for %%s.%%I', c.full_name, k.conrelid::regclass, k.conname), c.full_name, 0,
       string_agg(DISTINCT concat_ws(' ', t.tgfoid::regproc, t.tgenabled) COLLATE "C", ',')
FROM relations c JOIN pg_trigger t ON t.tgrelid = c.oid JOIN pg_constraint k ON k.oid = t.tgconstraint
WHERE t.tgisinternal GROUP BY c.full_name, k.conrelid, k.conname
UNION ALL
-- An index that is not valid answers no query, and a dump leaves it out.
SELECT CASE WHEN x.indisvalid OR i.relkind = 'I' THEN 'index' ELSE 'invalid index' END,
       format('%%I.%%I', c.nspname, i.relname), c.full_name, 0, pg_get_indexdef(x.indexrelid)
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
SELECT 'rule', format('%%s.%%I', c.full_name, r.rulename), c.full_name, 0, pg_get_ruledef(r.oid)
FROM relations c JOIN pg_rewrite r ON r.ev_class = c.oid WHERE r.rulename <> '_RETURN'
UNION ALL
SELECT 'rule state', format('%%s.%%I', c.full_name, r.rulename), c.full_name, 0,
       concat_ws(' ', 'enabled', r.ev_enabled, 'comment', quote_nullable(obj_description(r.oid, 'pg_rewrite')))
FROM relations c JOIN pg_rewrite r ON r.ev_class = c.oid WHERE r.rulename <> '_RETURN'
UNION ALL
SELECT 'policy', format('%%s.%%I', c.full_name, p.polname), c.full_name, 0,
       concat_ws(' ', p.polcmd, 'permissive', p.polpermissive,
                 'roles', ARRAY(SELECT CASE r WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r) END COLLATE "C"
                                FROM unnest(p.polroles) r ORDER BY 1)::text,
                 'comment', quote_nullable(obj_description(p.oid, 'pg_policy')))
FROM relations c JOIN pg_policy p ON p.polrelid = c.oid
UNION ALL
SELECT 'policy using', format('%%s.%%I', c.full_name, p.polname), c.full_name, 0, pg_get_expr(p.polqual, p.polrelid)
FROM relations c JOIN pg_policy p ON p.polrelid = c.oid
UNION ALL
SELECT 'policy check', format('%%s.%%I', c.full_name, p.polname), c.full_name, 0,
       pg_get_expr(p.polwithcheck, p.polrelid)
FROM relations c JOIN pg_policy p ON p.polrelid = c.oid
UNION ALL
SELECT 'sequence', c.full_name, '', 0,
       concat_ws(' ', format_type(s.seqtypid, NULL), 'start', s.seqstart, 'increment', s.seqincrement,
                 'min', s.seqmin, 'max', s.seqmax, 'cache', s.seqcache, 'cycle', s.seqcycle,
                 'owner', pg_get_userbyid(c.relowner), 'persistence', c.relpersistence,
                 'acl', ARRAY(SELECT i::text COLLATE "C" FROM unnest(coalesce(c.relacl, acldefault('s', c.relowner))) i
                              ORDER BY 1)::text,
                 'owned by', (SELECT format('%%s.%%I', d.refobjid::regclass, a.attname) FROM pg_depend d
                              JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
                              WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')
                                AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 LIMIT 1),
                 'comment', quote_nullable(obj_description(c.oid, 'pg_class')))
FROM relations c JOIN pg_sequence s ON s.seqrelid = c.oid
UNION ALL
SELECT 'function', p.full_name, '', 0,
       CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid) ELSE
           (SELECT concat_ws(' ', 'aggregate', g.aggkind, g.aggnumdirectargs, g.aggtransfn, g.aggfinalfn,
                             g.aggcombinefn, g.aggserialfn, g.aggdeserialfn, g.aggmtransfn, g.aggminvtransfn,
                             g.aggmfinalfn, g.aggfinalextra, g.aggmfinalextra, g.aggfinalmodify, g.aggmfinalmodify,
                             'sort', CASE WHEN g.aggsortop <> 0 THEN g.aggsortop::regoperator END,
                             'state', format_type(g.aggtranstype, NULL), g.aggtransspace, quote_nullable(g.agginitval),
                             'moving', CASE WHEN g.aggmtranstype <> 0 THEN format_type(g.aggmtranstype, NULL) END,
                             g.aggmtransspace, quote_nullable(g.aggminitval), 'parallel', p.proparallel)
            FROM pg_aggregate g WHERE g.aggfnoid = p.oid) END
FROM functions p
UNION ALL
SELECT 'function state', p.full_name, '', 0,
       concat_ws(' ', 'owner', pg_get_userbyid(p.proowner),
                 'acl', ARRAY(SELECT i::text COLLATE "C" FROM unnest(coalesce(p.proacl, acldefault('f', p.proowner))) i
                              ORDER BY 1)::text,
                 'comment', quote_nullable(obj_description(p.oid, 'pg_proc')))
FROM functions p
UNION ALL
SELECT 'type', t.full_name, '', 0,
       concat_ws(' ', 'kind', t.typtype, 'owner', pg_get_userbyid(t.typowner),
                 'acl', ARRAY(SELECT i::text COLLATE "C" FROM unnest(coalesce(t.typacl, acldefault('T', t.typowner))) i
                              ORDER BY 1)::text,
                 CASE WHEN t.typtype = 'd' THEN
                     concat_ws(' ', format_type(t.typbasetype, t.typtypmod), 'not null', t.typnotnull, 'collation',
                               (SELECT t.typcollation::regcollation::text FROM pg_type b
                                WHERE b.oid = t.typbasetype AND b.typcollation <> t.typcollation)) END,
                 CASE WHEN t.typtype = 'r' THEN
                     (SELECT concat_ws(' ', format_type(r.rngsubtype, NULL), 'multirange', r.rngmultitypid::regtype,
                                       'collation', CASE WHEN r.rngcollation <> 0 THEN r.rngcollation::regcollation END,
                                       'class', quote_ident(o.opcname), r.rngcanonical, r.rngsubdiff)
                      FROM pg_range r JOIN pg_opclass o ON o.oid = r.rngsubopc WHERE r.rngtypid = t.oid) END,
                 CASE WHEN t.typtype = 'b' THEN
                     concat_ws(' ', t.typinput, t.typoutput, t.typreceive, t.typsend, t.typmodin, t.typmodout,
                               t.typanalyze, t.typsubscript, t.typlen, t.typbyval, t.typalign, t.typstorage,
                               t.typcategory, t.typispreferred, t.typdelim, quote_nullable(t.typdefault)) END,
                 'comment', quote_nullable(obj_description(t.oid, 'pg_type')))
FROM types t
UNION ALL
SELECT 'domain default', t.full_name, t.full_name, 0, pg_get_expr(t.typdefaultbin, 0)
FROM types t WHERE t.typtype = 'd' AND t.typdefaultbin IS NOT NULL
UNION ALL
SELECT 'enum value', format('%%s.%%L', t.full_name, e.enumlabel), t.full_name,
       row_number() OVER (PARTITION BY t.oid ORDER BY e.enumsortorder)::int, e.enumlabel
FROM types t JOIN pg_enum e ON e.enumtypid = t.oid
UNION ALL
SELECT 'domain constraint', format('%%s.%%I', t.full_name, k.conname), t.full_name, 0, pg_get_constraintdef(k.oid)
FROM types t JOIN pg_constraint k ON k.contypid = t.oid WHERE k.contype <> 'n'
UNION ALL
SELECT 'domain constraint state', format('%%s.%%I', t.full_name, k.conname), t.full_name, 0,
       concat_ws(' ', 'validated', k.convalidated, 'comment', quote_nullable(obj_description(k.oid, 'pg_constraint')))
FROM types t JOIN pg_constraint k ON k.contypid = t.oid WHERE k.contype <> 'n'
UNION ALL
SELECT 'statistics', format('%%I.%%I', s.nspname, x.stxname), x.stxrelid::regclass::text, 0,
       pg_get_statisticsobjdef(x.oid)
FROM pg_statistic_ext x JOIN spaces s ON s.oid = x.stxnamespace
UNION ALL
SELECT 'statistics state', format('%%I.%%I', s.nspname, x.stxname), x.stxrelid::regclass::text, 0,
       concat_ws(' ', 'owner', pg_get_userbyid(x.stxowner), 'target', nullif(x.stxstattarget, -1),
                 'comment', quote_nullable(obj_description(x.oid, 'pg_statistic_ext')))
FROM pg_statistic_ext x JOIN spaces s ON s.oid = x.stxnamespace
UNION ALL
-- Some columns exist, or have their name, only in some versions: those are read through jsonb.
SELECT 'collation', format('%%I.%%I', s.nspname, c.collname), '', 0,
       concat_ws(' ', c.collprovider, c.collisdeterministic, c.collcollate, c.collctype,
                 coalesce(to_jsonb(c) ->> 'colllocale', to_jsonb(c) ->> 'colliculocale'),
                 'rules', quote_nullable(to_jsonb(c) ->> 'collicurules'), 'owner', pg_get_userbyid(c.collowner),
                 'comment', quote_nullable(obj_description(c.oid, 'pg_collation')))
FROM pg_collation c JOIN spaces s ON s.oid = c.collnamespace
WHERE NOT EXISTS (SELECT 1 FROM owned e WHERE e.classid = 'pg_collation'::regclass AND e.objid = c.oid)
UNION ALL
SELECT 'operator', o.oid::regoperator::text, '', 0,
       concat_ws(' ', o.oprcode, 'commutator', CASE WHEN o.oprcom <> 0 THEN o.oprcom::regoperator END,
                 'negator', CASE WHEN o.oprnegate <> 0 THEN o.oprnegate::regoperator END,
                 o.oprrest, o.oprjoin, o.oprcanmerge, o.oprcanhash, 'owner', pg_get_userbyid(o.oprowner),
                 'comment', quote_nullable(obj_description(o.oid, 'pg_operator')))
FROM pg_operator o JOIN spaces s ON s.oid = o.oprnamespace
WHERE NOT EXISTS (SELECT 1 FROM owned e WHERE e.classid = 'pg_operator'::regclass AND e.objid = o.oid)
UNION ALL
SELECT 'operator class', format('%%I.%%I using %%I', s.nspname, o.opcname, a.amname), '', 0,
       concat_ws(' ', format_type(o.opcintype, NULL), 'default', o.opcdefault,
                 'storage', CASE WHEN o.opckeytype <> 0 THEN format_type(o.opckeytype, NULL) END,
                 'family', format('%%I.%%I', fs.nspname, f.opfname), 'owner', pg_get_userbyid(o.opcowner),
                 'comment', quote_nullable(obj_description(o.oid, 'pg_opclass')))
FROM pg_opclass o JOIN spaces s ON s.oid = o.opcnamespace JOIN pg_am a ON a.oid = o.opcmethod
JOIN pg_opfamily f ON f.oid = o.opcfamily JOIN pg_namespace fs ON fs.oid = f.opfnamespace
WHERE NOT EXISTS (SELECT 1 FROM owned e WHERE e.classid = 'pg_opclass'::regclass AND e.objid = o.oid)
UNION ALL
SELECT 'operator family', format('%%I.%%I using %%I', s.nspname, f.opfname, a.amname), '', 0,
       concat_ws(' ', ARRAY(SELECT concat_ws(' ', m.amopstrategy, m.amopopr::regoperator, m.amoppurpose,
                                             CASE WHEN m.amopsortfamily <> 0 THEN
                                                 (SELECT quote_ident(y.opfname) FROM pg_opfamily y
                                                  WHERE y.oid = m.amopsortfamily) END) COLLATE "C"
                            FROM pg_amop m WHERE m.amopfamily = f.oid ORDER BY 1)::text,
                 ARRAY(SELECT concat_ws(' ', m.amprocnum, format_type(m.amproclefttype, NULL),
                                        format_type(m.amprocrighttype, NULL), m.amproc::regprocedure) COLLATE "C"
                       FROM pg_amproc m WHERE m.amprocfamily = f.oid ORDER BY 1)::text,
                 'owner', pg_get_userbyid(f.opfowner), 'comment', quote_nullable(obj_description(f.oid, 'pg_opfamily')))
FROM pg_opfamily f JOIN spaces s ON s.oid = f.opfnamespace JOIN pg_am a ON a.oid = f.opfmethod
WHERE NOT EXISTS (SELECT 1 FROM owned e WHERE e.classid = 'pg_opfamily'::regclass AND e.objid = f.oid)
UNION ALL
SELECT 'text search dictionary', format('%%I.%%I', s.nspname, d.dictname), '', 0,
       concat_ws(' ', format('%%I.%%I', ts.nspname, t.tmplname), 'options', d.dictinitoption,
                 'owner', pg_get_userbyid(d.dictowner), 'comment', quote_nullable(obj_description(d.oid, 'pg_ts_dict')))
FROM pg_ts_dict d JOIN spaces s ON s.oid = d.dictnamespace JOIN pg_ts_template t ON t.oid = d.dicttemplate
JOIN pg_namespace ts ON ts.oid = t.tmplnamespace
WHERE NOT EXISTS (SELECT 1 FROM owned e WHERE e.classid = 'pg_ts_dict'::regclass AND e.objid = d.oid)
UNION ALL
SELECT 'text search configuration', format('%%I.%%I', s.nspname, t.cfgname), '', 0,
       concat_ws(' ', 'parser', (SELECT format('%%I.%%I', ps.nspname, p.prsname)
                                 FROM pg_ts_parser p JOIN pg_namespace ps ON ps.oid = p.prsnamespace
                                 WHERE p.oid = t.cfgparser),
                 'mapping', (SELECT string_agg(concat_ws(' ', m.maptokentype, m.mapseqno, m.mapdict::regdictionary), ','
                                               ORDER BY m.maptokentype, m.mapseqno)
                             FROM pg_ts_config_map m WHERE m.mapcfg = t.oid),
                 'owner', pg_get_userbyid(t.cfgowner),
                 'comment', quote_nullable(obj_description(t.oid, 'pg_ts_config')))
FROM pg_ts_config t JOIN spaces s ON s.oid = t.cfgnamespace
WHERE NOT EXISTS (SELECT 1 FROM owned e WHERE e.classid = 'pg_ts_config'::regclass AND e.objid = t.oid)
UNION ALL
SELECT 'conversion', format('%%I.%%I', s.nspname, v.conname), '', 0,
       concat_ws(' ', pg_encoding_to_char(v.conforencoding), pg_encoding_to_char(v.contoencoding), v.conproc,
                 'default', v.condefault, 'owner', pg_get_userbyid(v.conowner),
                 'comment', quote_nullable(obj_description(v.oid, 'pg_conversion')))
FROM pg_conversion v JOIN spaces s ON s.oid = v.connamespace
WHERE NOT EXISTS (SELECT 1 FROM owned e WHERE e.classid = 'pg_conversion'::regclass AND e.objid = v.oid)
UNION ALL
SELECT 'default privileges', concat_ws(' ', quote_ident(pg_get_userbyid(d.defaclrole)), quote_ident(s.nspname),
                                       d.defaclobjtype), '', 0,
       ARRAY(SELECT i::text COLLATE "C" FROM unnest(d.defaclacl) i ORDER BY 1)::text
FROM pg_default_acl d LEFT JOIN spaces s ON s.oid = d.defaclnamespace
WHERE d.defaclnamespace = 0 OR s.oid IS NOT NULL
UNION ALL
-- Objects of the whole database; not part of a digest of one schema.
SELECT 'extension', quote_ident(e.extname), '', 0,
       concat_ws(' ', e.extversion, 'in', e.extnamespace::regnamespace,
                 -- What initdb installed is not in a dump, and its comment neither.
                 CASE WHEN e.oid >= 16384 THEN 'comment ' || quote_nullable(obj_description(e.oid, 'pg_extension')) END)
FROM pg_extension e WHERE %(schema)s::text IS NULL
UNION ALL
SELECT 'event trigger', quote_ident(t.evtname), '', 0,
       concat_ws(' ', t.evtevent, t.evtfoid::regprocedure, t.evtenabled, t.evttags::text,
                 'owner', pg_get_userbyid(t.evtowner),
                 'comment', quote_nullable(obj_description(t.oid, 'pg_event_trigger')))
FROM pg_event_trigger t
WHERE %(schema)s::text IS NULL
  AND NOT EXISTS (SELECT 1 FROM owned o WHERE o.classid = 'pg_event_trigger'::regclass AND o.objid = t.oid)
UNION ALL
SELECT 'publication', quote_ident(p.pubname), '', 0,
       concat_ws(' ', p.puballtables, p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate, p.pubviaroot,
                 'generated columns', to_jsonb(p) ->> 'pubgencols', 'owner', pg_get_userbyid(p.pubowner),
                 'schemas', ARRAY(SELECT s.nspname::text FROM pg_publication_namespace n
                                  JOIN pg_namespace s ON s.oid = n.pnnspid
                                  WHERE n.pnpubid = p.oid ORDER BY s.nspname)::text,
                 'comment', quote_nullable(obj_description(p.oid, 'pg_publication')))
FROM pg_publication p WHERE %(schema)s::text IS NULL
UNION ALL
SELECT 'publication table', concat_ws(' ', quote_ident(p.pubname), c.full_name), quote_ident(p.pubname), 0,
       ARRAY(SELECT a.attname::text FROM pg_attribute a
             WHERE a.attrelid = c.oid AND a.attnum = ANY (r.prattrs) ORDER BY a.attname)::text
FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid JOIN relations c ON c.oid = r.prrelid
WHERE %(schema)s::text IS NULL
UNION ALL
SELECT 'publication filter', concat_ws(' ', quote_ident(p.pubname), c.full_name), quote_ident(p.pubname), 0,
       pg_get_expr(r.prqual, r.prrelid)
FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid JOIN relations c ON c.oid = r.prrelid
WHERE %(schema)s::text IS NULL
UNION ALL
SELECT 'foreign data wrapper', quote_ident(w.fdwname), '', 0,
       concat_ws(' ', w.fdwhandler::regproc, w.fdwvalidator::regproc,
                 'options', ARRAY(SELECT o COLLATE "C" FROM unnest(w.fdwoptions) o ORDER BY 1)::text,
                 'owner', pg_get_userbyid(w.fdwowner),
                 'acl', ARRAY(SELECT i::text COLLATE "C" FROM unnest(coalesce(w.fdwacl, acldefault('F', w.fdwowner))) i
                              ORDER BY 1)::text,
                 'comment', quote_nullable(obj_description(w.oid, 'pg_foreign_data_wrapper')))
FROM pg_foreign_data_wrapper w WHERE %(schema)s::text IS NULL
UNION ALL
SELECT 'foreign server', quote_ident(f.srvname), '', 0,
       concat_ws(' ', quote_ident(w.fdwname), 'type', f.srvtype, 'version', f.srvversion,
                 'options', ARRAY(SELECT o COLLATE "C" FROM unnest(f.srvoptions) o ORDER BY 1)::text,
                 'owner', pg_get_userbyid(f.srvowner),
                 'acl', ARRAY(SELECT i::text COLLATE "C" FROM unnest(coalesce(f.srvacl, acldefault('S', f.srvowner))) i
                              ORDER BY 1)::text,
                 'comment', quote_nullable(obj_description(f.oid, 'pg_foreign_server')))
FROM pg_foreign_server f JOIN pg_foreign_data_wrapper w ON w.oid = f.srvfdw WHERE %(schema)s::text IS NULL
UNION ALL
-- Without the options: they hold passwords, and a fingerprint of a password can be guessed.
SELECT 'user mapping', format('%%I for %%I', m.srvname, m.usename), quote_ident(m.srvname), 0, ''
FROM pg_user_mappings m WHERE %(schema)s::text IS NULL
UNION ALL
SELECT 'language', quote_ident(l.lanname), '', 0,
       concat_ws(' ', l.lanpltrusted, l.lanplcallfoid::regproc, l.laninline::regproc, l.lanvalidator::regproc,
                 'acl', ARRAY(SELECT i::text COLLATE "C" FROM unnest(coalesce(l.lanacl, acldefault('l', l.lanowner))) i
                              ORDER BY 1)::text)
FROM pg_language l WHERE %(schema)s::text IS NULL AND l.lanispl
UNION ALL
SELECT 'access method', quote_ident(a.amname), '', 0,
       concat_ws(' ', a.amtype, a.amhandler, 'comment', quote_nullable(obj_description(a.oid, 'pg_am')))
FROM pg_am a WHERE %(schema)s::text IS NULL AND a.oid >= 16384
  AND NOT EXISTS (SELECT 1 FROM owned o WHERE o.classid = 'pg_am'::regclass AND o.objid = a.oid)
UNION ALL
SELECT 'cast', concat_ws(' ', format_type(c.castsource, NULL), 'as', format_type(c.casttarget, NULL)), '', 0,
       concat_ws(' ', c.castfunc::regprocedure, c.castcontext, c.castmethod,
                 'comment', quote_nullable(obj_description(c.oid, 'pg_cast')))
FROM pg_cast c
WHERE %(schema)s::text IS NULL AND c.oid >= 16384
  AND NOT EXISTS (SELECT 1 FROM owned o WHERE o.classid = 'pg_cast'::regclass AND o.objid = c.oid)
