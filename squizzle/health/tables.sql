-- What VACUUM would find in each table of this database, and whether one is on it now.
SELECT s.schemaname AS schema, s.relname AS name, s.n_live_tup AS live_rows, s.n_dead_tup AS dead_rows,
       s.n_mod_since_analyze AS changed_rows, pg_table_size(s.relid) AS size_bytes,
       greatest(s.last_vacuum, s.last_autovacuum) AS vacuumed_at, greatest(s.last_analyze, s.last_autoanalyze) AS analyzed_at,
       p.pid IS NOT NULL AS is_being_vacuumed
FROM pg_stat_user_tables s
LEFT JOIN pg_stat_progress_vacuum p ON p.relid = s.relid
WHERE s.schemaname NOT LIKE 'pg\_temp%'
ORDER BY s.n_dead_tup DESC, s.schemaname, s.relname
