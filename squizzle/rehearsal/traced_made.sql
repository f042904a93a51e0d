-- Rows read of, and changed in, what the open transaction made, so far; nobody but this session has used it.
SELECT (SELECT COALESCE(sum(pg_catalog.pg_stat_get_xact_tuples_returned(oid)
                            + pg_catalog.pg_stat_get_xact_tuples_fetched(oid)), 0)::bigint
        FROM unnest(%(tables)s::oid[]) AS made (oid))
       + (SELECT COALESCE(sum(pg_catalog.pg_stat_get_xact_tuples_fetched(oid)), 0)::bigint
          FROM unnest(%(indexes)s::oid[]) AS made (oid)),
       (SELECT COALESCE(sum(pg_catalog.pg_stat_get_xact_tuples_inserted(oid)
                            + pg_catalog.pg_stat_get_xact_tuples_updated(oid)
                            + pg_catalog.pg_stat_get_xact_tuples_deleted(oid)), 0)::bigint
        FROM unnest(%(tables)s::oid[]) AS made (oid))
