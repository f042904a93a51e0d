-- What DROP … CASCADE of some objects would take with it, by PostgreSQL's own book of dependencies (manual,
-- "pg_depend"): each object with whether it is part of something else, so that nobody needs to recreate it by itself.
-- A column of a table that stays has its number in objsubid.
WITH RECURSIVE lost (classid, objid, objsubid) AS (
    SELECT r.classid, r.objid, r.objsubid
    FROM unnest(%(classes)s::oid[], %(objects)s::oid[], %(parts)s::int[]) AS r (classid, objid, objsubid)
    UNION
    SELECT step.classid, step.objid, step.objsubid
    FROM lost l CROSS JOIN LATERAL (
        SELECT d.classid, d.objid, d.objsubid
        FROM pg_depend d
        WHERE d.refclassid = l.classid AND d.refobjid = l.objid AND (l.objsubid = 0 OR d.refobjsubid = l.objsubid)
        UNION ALL
        -- The rule of a view belongs to it, the index of a constraint to that: what is part of something that a drop
        -- reaches takes the whole with it.
        SELECT d.refclassid, d.refobjid, d.refobjsubid
        FROM pg_depend d
        WHERE d.classid = l.classid AND d.objid = l.objid AND d.deptype = 'i'
          AND d.objsubid IN (0, l.objsubid) AND d.refclassid <> 'pg_extension'::regclass
          AND l.classid <> 'pg_class'::regclass
    ) AS step
)
SELECT DISTINCT l.classid::bigint, l.objid::bigint, l.objsubid,
       pg_describe_object(l.classid, l.objid, l.objsubid),
       CASE WHEN l.classid = 'pg_class'::regclass THEN (SELECT c.relkind FROM pg_class c WHERE c.oid = l.objid) END,
       CASE WHEN l.classid = 'pg_class'::regclass THEN l.objid::regclass::text END,
       CASE WHEN l.classid = 'pg_class'::regclass AND l.objsubid <> 0 THEN
           (SELECT a.attname FROM pg_attribute a WHERE a.attrelid = l.objid AND a.attnum = l.objsubid) END,
       EXISTS (SELECT FROM pg_depend d WHERE d.classid = l.classid AND d.objid = l.objid AND d.deptype IN ('e', 'i')),
       CASE WHEN l.classid = 'pg_constraint'::regclass THEN
           (SELECT CASE WHEN k.conrelid <> 0 THEN jsonb_build_object(
                            'table', k.conrelid::regclass, 'oid', k.conrelid::bigint, 'name', quote_ident(k.conname),
                            'type', k.contype, 'definition', pg_get_constraintdef(k.oid),
                            'comment', obj_description(k.oid, 'pg_constraint'), 'inherited', NOT k.conislocal) END
            FROM pg_constraint k WHERE k.oid = l.objid) END,
       CASE WHEN l.classid = 'pg_class'::regclass THEN
           coalesce((SELECT c.relkind = 'm' AND c.relispopulated FROM pg_class c WHERE c.oid = l.objid), false)
           ELSE false END
FROM lost l
ORDER BY 1, 2, 3
