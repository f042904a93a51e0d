-- Everything about one relation that ALTER TABLE can change, as one JSON document; no row when there is no such relation.
SELECT jsonb_build_object(
    'name', format('%%I.%%I', n.nspname, c.relname),
    'kind', c.relkind,
    'persistence', c.relpersistence,
    'options', coalesce((SELECT jsonb_object_agg(o.option_name, o.option_value) FROM pg_options_to_table(c.reloptions) o),
                        '{}'),
    'toast_options', coalesce((SELECT jsonb_object_agg(o.option_name, o.option_value)
                               FROM pg_class x, pg_options_to_table(x.reloptions) o WHERE x.oid = c.reltoastrelid), '{}'),
    'row_security', c.relrowsecurity,
    'force_row_security', c.relforcerowsecurity,
    'replica_identity', c.relreplident,
    'replica_index', (SELECT quote_ident(i.relname) FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
                      WHERE x.indrelid = c.oid AND x.indisreplident),
    'clustered_on', (SELECT quote_ident(i.relname) FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
                     WHERE x.indrelid = c.oid AND x.indisclustered),
    'method', (SELECT quote_ident(m.amname) FROM pg_am m WHERE m.oid = c.relam),
    'tablespace', coalesce((SELECT quote_ident(s.spcname) FROM pg_tablespace s WHERE s.oid = c.reltablespace),
                           'pg_default'),
    'bound', pg_get_expr(c.relpartbound, c.oid),
    'of_type', CASE WHEN c.reloftype <> 0 THEN format_type(c.reloftype, NULL) END,
    'parents', ARRAY(SELECT i.inhparent::regclass::text FROM pg_inherits i WHERE i.inhrelid = c.oid ORDER BY i.inhseqno),
    'foreign_options', coalesce((SELECT jsonb_object_agg(o.option_name, o.option_value)
                                 FROM pg_foreign_table t, pg_options_to_table(t.ftoptions) o WHERE t.ftrelid = c.oid),
                                '{}'),
    'populated', c.relispopulated,
    'columns', coalesce((SELECT jsonb_agg(jsonb_build_object(
        'name', a.attname,
        'type', format_type(a.atttypid, a.atttypmod),
        'collation', (SELECT a.attcollation::regcollation::text FROM pg_type t
                      WHERE t.oid = a.atttypid AND t.typcollation <> a.attcollation),
        'not_null', a.attnotnull,
        'not_null_constraint', (SELECT jsonb_build_object('name', k.conname, 'default_name',
                                                          concat(c.relname, '_', a.attname, '_not_null') = k.conname,
                                                          'definition', pg_get_constraintdef(k.oid))
                                FROM pg_constraint k
                                WHERE k.conrelid = c.oid AND k.contype = 'n' AND k.conkey[1] = a.attnum),
        'default', pg_get_expr(d.adbin, d.adrelid),
        'identity', a.attidentity,
        'generated', a.attgenerated,
        'sequence', (SELECT jsonb_build_object('name', q.oid::regclass::text, 'start', s.seqstart, 'increment',
                                               s.seqincrement, 'min', s.seqmin, 'max', s.seqmax, 'cache', s.seqcache,
                                               'cycle', s.seqcycle)
                     FROM pg_depend p JOIN pg_class q ON q.oid = p.objid JOIN pg_sequence s ON s.seqrelid = q.oid
                     WHERE p.classid = 'pg_class'::regclass AND p.refclassid = 'pg_class'::regclass
                       AND p.refobjid = c.oid AND p.refobjsubid = a.attnum AND p.deptype = 'i'),
        'storage', a.attstorage,
        'type_storage', (SELECT t.typstorage FROM pg_type t WHERE t.oid = a.atttypid),
        'compression', a.attcompression,
        'statistics', coalesce(a.attstattarget, -1),
        'options', coalesce((SELECT jsonb_object_agg(o.option_name, o.option_value)
                             FROM pg_options_to_table(a.attoptions) o WHERE o.option_name <> 'pg_attver'), '{}'),
        'foreign_options', coalesce((SELECT jsonb_object_agg(o.option_name, o.option_value)
                                     FROM pg_options_to_table(a.attfdwoptions) o), '{}'),
        'grants', coalesce((SELECT jsonb_agg(jsonb_build_array(
                                coalesce(quote_ident(pg_get_userbyid(nullif(x.grantee, 0))), 'PUBLIC'),
                                x.privilege_type, x.is_grantable) ORDER BY x.grantee, x.privilege_type)
                            FROM aclexplode(a.attacl) x), '[]'),
        'comment', col_description(c.oid, a.attnum),
        'last', NOT EXISTS (SELECT FROM pg_attribute b
                            WHERE b.attrelid = c.oid AND b.attnum > a.attnum AND NOT b.attisdropped),
        'built_in', (SELECT t.typnamespace = 'pg_catalog'::regnamespace FROM pg_type t WHERE t.oid = a.atttypid)
        ) ORDER BY a.attnum)
        FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '[]'),
    'constraints', coalesce((SELECT jsonb_agg(jsonb_build_object(
        'name', k.conname, 'type', k.contype, 'definition', pg_get_constraintdef(k.oid),
        'columns', ARRAY(SELECT a.attname FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = ANY (k.conkey)),
        'index', (SELECT i.relname FROM pg_class i WHERE i.oid = k.conindid AND k.contype IN ('p', 'u', 'x')),
        'validated', k.convalidated,
        'local', k.conislocal,
        'comment', obj_description(k.oid, 'pg_constraint')
        ) ORDER BY k.conname) FROM pg_constraint k WHERE k.conrelid = c.oid), '[]'),
    'triggers', coalesce((SELECT jsonb_agg(jsonb_build_object(
        'name', t.tgname, 'enabled', t.tgenabled, 'internal', t.tgisinternal, 'events', t.tgtype::int & 60,
        'uses', ARRAY(SELECT a.attname FROM pg_depend p JOIN pg_attribute a ON a.attrelid = p.refobjid
                                                                           AND a.attnum = p.refobjsubid
                      WHERE p.classid = 'pg_trigger'::regclass AND p.objid = t.oid AND p.refobjid = c.oid
                        AND p.refclassid = 'pg_class'::regclass AND p.refobjsubid > 0)) ORDER BY t.tgname)
                          FROM pg_trigger t WHERE t.tgrelid = c.oid), '[]'),
    'rules', coalesce((SELECT jsonb_agg(jsonb_build_object('name', r.rulename, 'enabled', r.ev_enabled, 'internal', false)
                                        ORDER BY r.rulename)
                       FROM pg_rewrite r WHERE r.ev_class = c.oid), '[]'),
    'sequences', coalesce((SELECT jsonb_agg(jsonb_build_object('name', format('%%I.%%I', m.nspname, q.relname),
                                                               'increment', s.seqincrement) ORDER BY q.relname)
                           FROM pg_depend p JOIN pg_class q ON q.oid = p.objid JOIN pg_namespace m ON m.oid = q.relnamespace
                           JOIN pg_sequence s ON s.seqrelid = q.oid
                           WHERE p.classid = 'pg_class'::regclass AND p.refclassid = 'pg_class'::regclass
                             AND p.refobjid = c.oid AND p.deptype IN ('a', 'i')), '[]'),
    'references', coalesce((SELECT jsonb_agg(jsonb_build_object(
        'table', format('%%I.%%I', m.nspname, o.relname),
        'columns', ARRAY(SELECT a.attname FROM unnest(k.conkey) WITH ORDINALITY u(number, place)
                         JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number ORDER BY u.place),
        'targets', ARRAY(SELECT a.attname FROM unnest(k.confkey) WITH ORDINALITY u(number, place)
                         JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.number ORDER BY u.place),
        'on_delete', k.confdeltype,
        'on_update', k.confupdtype) ORDER BY o.relname, k.conname)
        FROM pg_constraint k JOIN pg_class o ON o.oid = k.conrelid JOIN pg_namespace m ON m.oid = o.relnamespace
        -- Each partition has a copy of the foreign key of its parent.
        WHERE k.confrelid = c.oid AND k.contype = 'f' AND (k.conparentid = 0 OR c.relispartition)
          AND NOT o.relispartition), '[]'))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = to_regclass(%(name)s)
