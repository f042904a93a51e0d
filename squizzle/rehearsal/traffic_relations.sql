-- The table behind each relation that is asked about: of an index and of TOAST their table; and whose partition or child
-- it is, all the way up. A name without a schema is looked for along a path. Nothing is locked: catalogue only.
SELECT a.place::int, t.oid::bigint, n.nspname, t.relname, t.relkind::text,
       ARRAY(
           WITH RECURSIVE up AS (
               SELECT h.inhparent AS oid FROM pg_inherits h WHERE h.inhrelid = t.oid
               UNION
               SELECT h.inhparent FROM up JOIN pg_inherits h ON h.inhrelid = up.oid
           )
           SELECT up.oid::bigint FROM up ORDER BY up.oid
       )
FROM unnest(%(schemas)s::text[], %(names)s::text[]) WITH ORDINALITY AS a(schema, name, place)
CROSS JOIN LATERAL (
    SELECT c.oid FROM pg_class c JOIN pg_namespace cn ON cn.oid = c.relnamespace
    WHERE c.relname = a.name
      AND (cn.nspname = a.schema OR a.schema = '' AND cn.nspname = ANY(%(path)s::text[] || current_schemas(false)::text[]))
    ORDER BY array_position(%(path)s::text[] || current_schemas(false)::text[], cn.nspname::text)
    LIMIT 1
) found
LEFT JOIN pg_index i ON i.indexrelid = found.oid
LEFT JOIN pg_class own ON own.reltoastrelid = coalesce(i.indrelid, found.oid)
JOIN pg_class t ON t.oid = coalesce(own.oid, i.indrelid, found.oid)
JOIN pg_namespace n ON n.oid = t.relnamespace
ORDER BY a.place
