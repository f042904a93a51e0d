-- What every kind of query of this database has cost since counting began. {view} is pg_stat_statements, which may be in
-- any schema. Queries that we may not see have no number and are counted apart.
SELECT s.queryid, bool_or(s.toplevel) AS toplevel, sum(s.calls)::bigint AS calls, sum(s.total_exec_time)::float8 AS total_ms,
       sum(s.rows)::bigint AS rows, min(s.query) AS query
FROM {view} s
WHERE s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
GROUP BY s.queryid
