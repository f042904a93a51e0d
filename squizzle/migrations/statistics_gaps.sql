-- One row for each table with rows: whether the planner lacks statistics of a column of it, whether other things in it have
-- statistics (see statistics_of_others.sql), and how many rows were changed since it was analysed last. A partitioned table
-- has statistics of its own, of all its partitions together. Nothing here locks a table, as pg_relation_size and pg_partition_tree
-- would: somebody may hold one for hours. Whether one has rows is what the planner and the counters of writes say.
WITH RECURSIVE filled (oid) AS (
    SELECT oid FROM pg_class
    WHERE relkind IN ('r', 'm') AND (relpages > 0 OR pg_stat_get_live_tuples(oid) > 0)
    UNION
    SELECT p.oid FROM filled f JOIN pg_inherits i ON i.inhrelid = f.oid
    JOIN pg_class p ON p.oid = i.inhparent AND p.relkind = 'p'
)
SELECT c.oid::bigint, n.nspname, c.relname,
       EXISTS (
           SELECT FROM pg_attribute a
           WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> 'v'
             AND a.attstattarget IS DISTINCT FROM 0
             AND NOT EXISTS (
                 SELECT FROM pg_stats s
                 WHERE s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = a.attname
             )
       ) AS lacks,
       EXISTS (SELECT FROM pg_index x WHERE x.indrelid = c.oid AND x.indexprs IS NOT NULL)
       OR EXISTS (SELECT FROM pg_statistic_ext x WHERE x.stxrelid = c.oid) AS has_others,
       coalesce(pg_stat_get_mod_since_analyze(c.oid), 0) AS changed,
       greatest(c.reltuples, 0)::bigint AS row_count,
       c.relkind = 'p' AS is_partitioned
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't'
  AND n.nspname !~ '^(pg_|information_schema$|squizzle$)' AND c.relname <> 'squizzle_history'
  AND c.oid IN (SELECT oid FROM filled)
ORDER BY n.nspname, c.relname
