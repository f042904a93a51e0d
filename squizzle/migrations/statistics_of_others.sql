-- Which of these tables lack statistics of an expression of an index, or extended statistics. Apart from the columns: to plan
-- this takes longer than all else, and few tables have any.
SELECT c.oid::bigint
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY (%(tables)s::oid[])
  AND (EXISTS (
           SELECT FROM pg_index x
           JOIN pg_class i ON i.oid = x.indexrelid
           WHERE x.indrelid = c.oid AND x.indexprs IS NOT NULL AND x.indisvalid AND i.relkind = 'i'
             AND NOT EXISTS (SELECT FROM pg_stats s WHERE s.schemaname = n.nspname AND s.tablename = i.relname)
       )
       OR EXISTS (
           SELECT FROM pg_statistic_ext x
           WHERE x.stxrelid = c.oid AND NOT EXISTS (
               SELECT FROM pg_stats_ext s
               WHERE s.statistics_schemaname = x.stxnamespace::regnamespace::text AND s.statistics_name = x.stxname
           )
       ))
