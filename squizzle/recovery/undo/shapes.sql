-- Logged tables as they are now: what reading and writing their rows has to know.
SELECT c.oid::bigint AS id, n.nspname AS schema, c.relname AS name,
       (SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '') AS columns,
       (SELECT coalesce(array_agg(a.attname::text), '{}') FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attidentity = 'a') AS always_identity,
       -- The equality of the key's own index: `=` means something else where an extension's operators are not in sight.
       key.columns AS key_columns, key.operators AS key_operators,
       (SELECT array_agg(t.oid::bigint) FROM (SELECT c.oid UNION SELECT relid FROM pg_partition_tree(c.oid)) t) AS members,
       EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = c.oid) AS has_rules
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
    SELECT array_agg(a.attname::text ORDER BY k.at) AS columns,
           array_agg(format('OPERATOR(%%I.%%s)', s.nspname, o.oprname) ORDER BY k.at) AS operators
    FROM pg_index i CROSS JOIN unnest(i.indkey, i.indclass) WITH ORDINALITY k (number, class, at)
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number
    JOIN pg_opclass p ON p.oid = k.class
    JOIN pg_amop m ON m.amopfamily = p.opcfamily AND m.amopstrategy = 3
        AND m.amoplefttype = p.opcintype AND m.amoprighttype = p.opcintype
    JOIN pg_operator o ON o.oid = m.amopopr JOIN pg_namespace s ON s.oid = o.oprnamespace
    WHERE i.indrelid = c.oid AND i.indisprimary AND k.at <= i.indnkeyatts
) key
WHERE c.oid = ANY (%(tables)s::oid[])
ORDER BY n.nspname, c.relname
