-- How the tables of these names are made: primary key, and every column in the order of names, generated ones as well.
SELECT t.name, t.schema, t.table,
       coalesce((SELECT array_agg(a.attname::text ORDER BY k.place)
                 FROM pg_index i CROSS JOIN unnest(i.indkey) WITH ORDINALITY AS k(attnum, place)
                 JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.attnum
                 WHERE i.indrelid = t.oid AND i.indisprimary AND k.place <= i.indnkeyatts), '{}') AS key,
       coalesce((SELECT array_agg(a.attname::text ORDER BY a.attname)
                 FROM pg_attribute a WHERE a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped), '{}') AS columns,
       t.partitioned
FROM (SELECT c.oid, format('%%I.%%I', n.nspname, c.relname) AS name, n.nspname::text AS schema, c.relname::text AS table,
             c.relkind = 'p' AS partitioned
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind IN ('r', 'p')) AS t
WHERE t.name = ANY(%s)
