-- Rights that the session's user lacks on tables, and on the sequences of their serial columns.
WITH tables AS (
    SELECT c.oid, format('%%I.%%I', n.nspname, c.relname) AS name
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %(schema)s AND c.relname = ANY (%(tables)s::text[])
), sequences AS (
    SELECT pg_get_serial_sequence(t.name, a.attname) AS name
    FROM tables t JOIN pg_attribute a ON a.attrelid = t.oid
    WHERE a.attnum > 0 AND NOT a.attisdropped AND a.atthasdef AND a.attidentity = ''
)
SELECT t.name, r.wanted
FROM tables t CROSS JOIN unnest(%(rights)s::text[]) AS r (wanted)
WHERE NOT has_table_privilege(t.oid, r.wanted)
UNION ALL
SELECT s.name, 'USAGE' FROM sequences s WHERE s.name IS NOT NULL AND NOT has_sequence_privilege(s.name, 'USAGE')
ORDER BY 1, 2
