-- Tables below one (partitions, children; itself) that have rows and no index which can find a range of the key.
WITH RECURSIVE tree(oid) AS (
    SELECT %(table)s::oid
    UNION
    SELECT i.inhrelid FROM pg_inherits i JOIN tree ON i.inhparent = tree.oid WHERE NOT %(only)s
)
SELECT c.oid::regclass::text
FROM tree JOIN pg_class c USING (oid)
WHERE c.relkind <> 'p' AND NOT EXISTS (
    SELECT 1
    FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_am m ON m.oid = i.relam
    WHERE x.indrelid = c.oid AND m.amname = 'btree' AND x.indisvalid AND x.indpred IS NULL
      AND x.indnkeyatts >= cardinality(%(columns)s::text[])
      AND NOT EXISTS (
          -- Each column of the key in its place, ordered as > and ORDER BY order it, all in one direction.
          SELECT 1
          FROM (SELECT name, place::int - 1 FROM unnest(%(columns)s::text[]) WITH ORDINALITY u(name, place)) k(name, at)
          LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = k.name AND NOT a.attisdropped
          LEFT JOIN pg_opclass o ON o.oid = x.indclass[k.at]
          WHERE a.attnum IS DISTINCT FROM x.indkey[k.at] OR o.opcdefault IS NOT TRUE
             OR x.indcollation[k.at] <> a.attcollation
             OR x.indoption[k.at] NOT IN (0, 3) OR x.indoption[k.at] <> x.indoption[0]))
ORDER BY 1
