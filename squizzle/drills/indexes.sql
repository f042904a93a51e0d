-- Indexes whose loss makes queries slower and nothing else: a B-tree whose first column has many values, that no
-- constraint needs and no other index stands in for; those of the largest tables first.
SELECT
    n.nspname,
    c.relname,
    a.attname,
    format_type(a.atttypid, NULL),
    x.relname,
    pg_get_indexdef(i.indexrelid),
    c.reltuples::bigint
FROM pg_index AS i
JOIN pg_class AS c ON c.oid = i.indrelid
JOIN pg_class AS x ON x.oid = i.indexrelid
JOIN pg_am AS m ON m.oid = x.relam
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
JOIN pg_stats AS s ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = a.attname
WHERE
    n.nspname = %(schema)s
    AND c.relkind = 'r'
    AND NOT c.relispartition
    AND m.amname = 'btree'
    AND i.indisvalid
    AND NOT i.indisunique
    AND i.indexprs IS NULL
    AND i.indpred IS NULL
    AND c.reltuples >= %(rows)s
    AND (s.n_distinct < 0 OR s.n_distinct >= %(values)s)
    AND NOT EXISTS (
        SELECT FROM pg_index AS other
        WHERE other.indrelid = i.indrelid AND other.indexrelid <> i.indexrelid AND other.indkey[0] = i.indkey[0]
    )
ORDER BY c.reltuples DESC, x.relname
