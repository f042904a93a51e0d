-- Which of our own schemas, tables and indexes are there, with their columns and comments.
SELECT wanted.name,
       ARRAY(SELECT attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
       obj_description(c.oid, 'pg_class')
FROM unnest(%(relations)s::text[]) AS wanted(name) JOIN pg_class c ON c.oid = to_regclass(wanted.name)
UNION ALL
SELECT wanted.name, '{}', NULL
FROM unnest(%(schemas)s::text[]) AS wanted(name) JOIN pg_namespace n ON n.oid = to_regnamespace(wanted.name)
