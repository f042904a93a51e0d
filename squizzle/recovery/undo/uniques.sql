-- Unique indexes besides the primary key whose rule can be asked about in advance: plain columns, all rows. A partial one,
-- one over expressions, or an exclusion constraint is left to the server, which refuses the whole undo then.
SELECT i.indrelid::bigint AS table_id, x.relname AS name, array_agg(a.attname::text ORDER BY k.at) AS columns,
       array_agg(format('OPERATOR(%%I.%%s)', s.nspname, o.oprname) ORDER BY k.at) AS operators
FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
CROSS JOIN unnest(i.indkey, i.indclass) WITH ORDINALITY k (number, class, at)
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
JOIN pg_opclass p ON p.oid = k.class
JOIN pg_amop m ON m.amopfamily = p.opcfamily AND m.amopstrategy = 3
    AND m.amoplefttype = p.opcintype AND m.amoprighttype = p.opcintype
JOIN pg_operator o ON o.oid = m.amopopr JOIN pg_namespace s ON s.oid = o.oprnamespace
WHERE i.indrelid = ANY (%(tables)s::oid[]) AND i.indisunique AND NOT i.indisprimary AND i.indisvalid
  AND i.indpred IS NULL AND i.indexprs IS NULL AND k.at <= i.indnkeyatts AND a.attgenerated = ''
  AND NOT coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false)
GROUP BY i.indrelid, x.relname, i.indnkeyatts HAVING count(*) = i.indnkeyatts
ORDER BY x.relname
