-- What the server has counted for some tables, their partitions and children included, and for the whole database.
-- Scans are counted of each index and of the table itself; rows are counted where they are, in the partition.
-- Since when it counts: since a reset of this database; else since the cluster's own counters began, which a clean
-- restart keeps. Whichever of the two shared ones is older was not reset by hand.
WITH RECURSIVE tree AS (
    SELECT asked AS root, asked AS oid FROM unnest(%(tables)s::oid[]) AS asked
    UNION
    SELECT t.root, h.inhrelid FROM tree t JOIN pg_inherits h ON h.inhparent = t.oid
),
counted AS (
    SELECT t.root,
           sum(coalesce(pg_stat_get_numscans(t.oid), 0)
               + (SELECT coalesce(sum(pg_stat_get_numscans(i.indexrelid)), 0) FROM pg_index i WHERE i.indrelid = t.oid)
           )::bigint AS reads,
           sum(pg_stat_get_tuples_inserted(t.oid))::bigint AS inserted,
           sum(pg_stat_get_tuples_updated(t.oid) + pg_stat_get_tuples_deleted(t.oid))::bigint AS changed
    FROM tree t GROUP BY t.root
)
SELECT clock_timestamp(),
       coalesce(d.stats_reset, least(b.stats_reset, a.stats_reset), pg_postmaster_start_time()),
       d.xact_commit + d.xact_rollback,
       c.root::bigint, c.reads, c.inserted, c.changed
FROM pg_stat_database d
CROSS JOIN pg_stat_bgwriter b
CROSS JOIN pg_stat_archiver a
LEFT JOIN counted c ON true
WHERE d.datname = current_database()
