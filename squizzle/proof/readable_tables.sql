-- The tables of which the rows that were written since can be told by their xmin, and what the text of a row depends on
-- besides what is stored: which table it is, its columns, and their types. A table is left out when somebody can change
-- that text without writing a row: a column of a type with code of its own (a composite one, one of an extension), one
-- that shows names of others (regclass, aclitem), a column that is computed when it is read; and one that is no heap.
WITH RECURSIVE tables AS (
    SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS name
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND c.oid >= 16384
      AND c.relam = (SELECT am.oid FROM pg_am am WHERE am.amname = 'heap')
),
columns AS (
    SELECT t.oid, t.name, a.attname, a.attnum, a.atttypid, a.atttypmod, a.attgenerated
    FROM tables t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
),
-- Arrays and domains have the texts of what they are made of.
parts AS (
    SELECT DISTINCT atttypid AS origin, atttypid AS part FROM columns
    UNION
    SELECT p.origin, CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.typelem END
    FROM parts p JOIN pg_type t ON t.oid = p.part
    WHERE t.typtype = 'd' OR t.typoutput = 'array_out'::regproc
),
types AS (
    SELECT p.origin,
           bool_and(t.typtype IN ('d', 'e') OR t.typoutput = 'array_out'::regproc
                    -- 16384 is FirstNormalObjectId: what initdb made is below it.
                    OR (t.oid < 16384 AND t.typtype IN ('b', 'r', 'm')
                        AND t.typname !~ '^reg' AND t.typname <> 'aclitem')) AS is_plain,
           string_agg(format('%s %s', t.oid, (SELECT array_agg(e.enumlabel ORDER BY e.oid)
                                              FROM pg_enum e WHERE e.enumtypid = t.oid)), ' ' ORDER BY t.oid) AS text
    FROM parts p JOIN pg_type t ON t.oid = p.part
    GROUP BY p.origin
)
SELECT c.name,
       md5(c.oid || ' ' || string_agg(format('%I %s %s %s', c.attname, c.attnum, c.atttypmod, y.text),
                                      ',' ORDER BY c.attnum))
FROM columns c JOIN types y ON y.origin = c.atttypid
GROUP BY c.oid, c.name
HAVING bool_and(y.is_plain AND c.attgenerated IN ('', 's'))
