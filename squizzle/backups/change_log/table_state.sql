-- One table as it is now: what decides whether it can be logged, and its triggers of ours.
SELECT c.oid::bigint AS id, n.nspname AS schema, c.relname AS name, c.relkind::text AS kind, c.relpersistence::text AS persistence,
       c.relispartition AS is_partition,
       c.relhassubclass AND c.relkind = 'r' AS has_children,
       pg_get_userbyid(c.relowner) AS owner,
       pg_has_role(c.relowner, 'USAGE') AS is_ours,
       c.relrowsecurity AND c.relforcerowsecurity AS forces_row_security,
       coalesce((SELECT has_table_privilege(p.proowner, c.oid, 'SELECT') FROM pg_proc p
                 WHERE p.oid = to_regproc('squizzle_log.log_truncate')), true) AS log_may_read,
       coalesce((SELECT array_agg(a.attname::text ORDER BY k.at)
                 FROM pg_index i CROSS JOIN unnest(i.indkey) WITH ORDINALITY k (number, at)
                 JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number
                 WHERE i.indrelid = c.oid AND i.indisprimary AND k.at <= i.indnkeyatts), '{}') AS key_columns,
       coalesce((SELECT array_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum)
                 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '{}') AS columns,
       -- Of arrays JSON keeps no lower bound, of json and jsonb not the difference of null and NULL; a type with its own
       -- cast to json is printed by that; composite types and domains may hold any of them.
       EXISTS (SELECT FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
               WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
               AND (t.typcategory IN ('A', 'C') OR t.typtype IN ('d', 'c') OR t.oid IN ('json'::regtype, 'jsonb'::regtype)
                    OR EXISTS (SELECT FROM pg_cast k WHERE k.castsource = t.oid AND k.casttarget = 'json'::regtype)))
           AS needs_exact,
       coalesce((SELECT array_agg(x.relid::regclass::text) FROM pg_partition_tree(c.oid) x JOIN pg_class l ON l.oid = x.relid
                 WHERE x.isleaf AND x.relid <> c.oid AND (l.relkind <> 'r' OR l.relpersistence <> 'p')), '{}') AS unfit_partitions,
       coalesce((SELECT array_agg(x.relid::bigint ORDER BY x.relid) FROM pg_partition_tree(c.oid) x
                 WHERE x.isleaf AND x.relid <> c.oid), '{}') AS partitions,
       (SELECT p.relid::regclass::text FROM pg_partition_ancestors(c.oid) p JOIN pg_trigger t ON t.tgrelid = p.relid
        WHERE p.relid <> c.oid AND t.tgfoid = to_regproc('squizzle_log.log_row') LIMIT 1) AS logged_parent
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %(schema)s AND c.relname = %(table)s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
