-- The columns of a key, in its order; a column that is not there is left out.
SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, t.typcategory = 'D'
FROM unnest(%(columns)s::text[]) WITH ORDINALITY k(name, place)
JOIN pg_attribute a ON a.attrelid = %(table)s::oid AND a.attname = k.name AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
ORDER BY k.place
