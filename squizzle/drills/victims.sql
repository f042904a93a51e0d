-- Columns that a drill can damage without the server noticing: in no index, no key, no check, of a type whose values can
-- be changed; those of the largest tables first.
SELECT
    n.nspname,
    c.relname,
    a.attname,
    t.typname
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_attribute AS a ON a.attrelid = c.oid
JOIN pg_type AS t ON t.oid = a.atttypid
WHERE
    n.nspname = %(schema)s
    AND c.relkind IN ('r', 'p')
    AND NOT c.relispartition
    AND c.relname NOT LIKE '%%squizzle_history'
    AND a.attnum > 0
    AND NOT a.attisdropped
    AND a.attgenerated = ''
    AND a.attidentity = ''
    AND t.typname = ANY(%(types)s)
    AND NOT EXISTS (
        SELECT FROM pg_constraint AS k
        WHERE k.conrelid = c.oid AND k.contype <> 'n' AND a.attnum = ANY(k.conkey)
    )
    AND NOT EXISTS (
        SELECT FROM pg_index AS i
        WHERE i.indrelid = c.oid AND (a.attnum = ANY(i.indkey) OR i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)
    )
ORDER BY greatest(c.reltuples, 0) DESC, c.relname, a.attnum
