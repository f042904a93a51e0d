-- Foreign keys into or out of these tables and their partitions. Not those WITHOUT OVERLAPS, which compare by ranges, and
-- not those that are not enforced.
SELECT k.oid::bigint AS id, k.conname AS name, k.conrelid::bigint AS child_id, k.confrelid::bigint AS parent_id,
       n.nspname AS child_schema, c.relname AS child_name, m.nspname AS parent_schema, p.relname AS parent_name,
       (SELECT array_agg(a.attname::text ORDER BY x.at) FROM unnest(k.conkey) WITH ORDINALITY x (number, at)
        JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = x.number) AS child_columns,
       (SELECT array_agg(a.attname::text ORDER BY x.at) FROM unnest(k.confkey) WITH ORDINALITY x (number, at)
        JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = x.number) AS parent_columns,
       (SELECT array_agg(format('OPERATOR(%%I.%%s)', s.nspname, o.oprname) ORDER BY x.at)
        FROM unnest(k.conpfeqop) WITH ORDINALITY x (operator, at) JOIN pg_operator o ON o.oid = x.operator
        JOIN pg_namespace s ON s.oid = o.oprnamespace) AS operators,
       k.condeferrable AS is_deferrable
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class p ON p.oid = k.confrelid JOIN pg_namespace m ON m.oid = p.relnamespace
WHERE k.contype = 'f' AND k.conparentid = 0
  AND (k.conrelid = ANY (%(members)s::oid[]) OR k.confrelid = ANY (%(members)s::oid[]))
  AND coalesce((to_jsonb(k) ->> 'conenforced')::boolean, true)
  AND NOT coalesce((to_jsonb(k) ->> 'conperiod')::boolean, false)
ORDER BY k.conname, k.oid
