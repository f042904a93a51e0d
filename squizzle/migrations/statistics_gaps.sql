-- One row for each table with rows: whether the planner lacks statistics of a column of it, whether other things in it have
-- statistics (see statistics_of_others.sql), and how many rows were changed since it was analysed last. A partitioned table
-- has statistics of its own, of all its partitions together.
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
  AND CASE WHEN c.relkind = 'p'
           THEN EXISTS (SELECT FROM pg_partition_tree(c.oid) t WHERE t.isleaf AND pg_relation_size(t.relid) > 0)
           ELSE pg_relation_size(c.oid) > 0 END
ORDER BY n.nspname, c.relname
