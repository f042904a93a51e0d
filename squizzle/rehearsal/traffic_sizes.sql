-- How big some tables are now, with indexes, TOAST and partitions. To ask for a size takes ACCESS SHARE, so one that
-- somebody has, or wants, for himself is not asked about: we would stand in its queue.
WITH RECURSIVE tree AS (
    SELECT asked AS root, asked AS oid FROM unnest(%(tables)s::oid[]) AS asked
    UNION
    SELECT t.root, h.inhrelid FROM tree t JOIN pg_inherits h ON h.inhparent = t.oid
),
taken AS MATERIALIZED (
    SELECT DISTINCT l.relation FROM pg_locks l
    WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock'
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
),
free AS (
    SELECT t.root, t.oid,
           EXISTS (SELECT FROM taken k WHERE k.relation = t.oid
                   OR k.relation IN (SELECT i.indexrelid FROM pg_index i WHERE i.indrelid = t.oid)) AS is_taken
    FROM tree t
)
SELECT f.root::bigint,
       CASE WHEN bool_or(f.is_taken) THEN NULL
            ELSE sum(CASE WHEN f.is_taken THEN 0 ELSE pg_total_relation_size(f.oid) END)::bigint END,
       -- Never analysed: what was counted since then is all that is known.
       sum(CASE WHEN c.relkind = 'p' THEN 0
                WHEN c.reltuples < 0 THEN pg_stat_get_live_tuples(c.oid)
                ELSE c.reltuples END)::bigint
FROM free f JOIN pg_class c ON c.oid = f.oid
GROUP BY f.root
