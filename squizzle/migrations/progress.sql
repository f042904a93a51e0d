-- How far a long statement of a session is; no row when the server does not know.
-- Rows that a client sends have no total.
SELECT p.what, p.phase, coalesce(p.done, 0), p.total, p.unit
FROM (
    SELECT 'index ' || coalesce(index_relid::regclass::text, relid::regclass::text) AS what, phase,
           CASE WHEN blocks_total > 0 THEN blocks_done ELSE tuples_done END AS done,
           CASE WHEN blocks_total > 0 THEN blocks_total ELSE tuples_total END AS total,
           CASE WHEN blocks_total > 0 THEN 'blocks' ELSE 'rows' END AS unit
    FROM pg_stat_progress_create_index WHERE pid = %(pid)s
    UNION ALL
    SELECT 'vacuum ' || relid::regclass::text, phase, heap_blks_scanned, heap_blks_total, 'blocks'
    FROM pg_stat_progress_vacuum WHERE pid = %(pid)s
    UNION ALL
    SELECT 'rewrite ' || relid::regclass::text, phase, heap_blks_scanned, heap_blks_total, 'blocks'
    FROM pg_stat_progress_cluster WHERE pid = %(pid)s
    UNION ALL
    SELECT 'copy ' || relid::regclass::text, command, bytes_processed, bytes_total, 'bytes'
    FROM pg_stat_progress_copy WHERE pid = %(pid)s
) p
LIMIT 1
