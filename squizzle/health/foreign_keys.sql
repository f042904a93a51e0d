-- Foreign keys by number: both tables, the columns with the operators that compare them, what else there is to know.
SELECT k.oid::bigint AS id, k.conname::text AS name, n.nspname::text AS schema, c.relname::text AS "table",
       rn.nspname::text AS key_schema, r.relname::text AS key_table, k.convalidated AS is_valid,
       k.confmatchtype = 'f' AS is_full, coalesce((to_jsonb(k) ->> 'conperiod')::boolean, false) AS has_period,
       k.confdeltype::text AS on_delete, k.confupdtype::text AS on_update,
       c.relkind = 'p' AS is_partitioned, r.relkind = 'p' AS key_is_partitioned,
       pairs.columns, pairs.key_columns, pairs.operators, pairs.collations
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class r ON r.oid = k.confrelid
JOIN pg_namespace rn ON rn.oid = r.relnamespace
CROSS JOIN LATERAL (
    SELECT array_agg(a.attname::text ORDER BY u.place) AS columns,
           array_agg(ra.attname::text ORDER BY u.place) AS key_columns,
           array_agg(format('OPERATOR(%%I.%%s)', opn.nspname, op.oprname) ORDER BY u.place) AS operators,
           -- As the server itself compares: with the collation of the key, where that is another one (ri_triggers.c).
           array_agg(CASE WHEN ra.attcollation <> a.attcollation AND co.oid IS NOT NULL
                          THEN format('COLLATE %%I.%%I', con.nspname, co.collname) ELSE '' END ORDER BY u.place) AS collations
    FROM unnest(k.conkey, k.confkey, k.conpfeqop) WITH ORDINALITY AS u (attribute, key_attribute, operator, place)
    JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.attribute
    JOIN pg_attribute ra ON ra.attrelid = k.confrelid AND ra.attnum = u.key_attribute
    JOIN pg_operator op ON op.oid = u.operator
    JOIN pg_namespace opn ON opn.oid = op.oprnamespace
    LEFT JOIN pg_collation co ON co.oid = ra.attcollation
    LEFT JOIN pg_namespace con ON con.oid = co.collnamespace
) AS pairs
WHERE k.oid = ANY(%(ids)s::oid[])
ORDER BY n.nspname, c.relname, k.conname
