-- What can be seen of a database from outside of it.
SELECT (SELECT count(*) FROM pg_stat_activity a
        WHERE a.datname = %(database)s AND a.wait_event_type = 'Lock'
          AND a.state_change < clock_timestamp() - %(waiting)s::interval)::int AS blocked_sessions,
       coalesce((SELECT checksum_failures FROM pg_stat_database WHERE datname = %(database)s), 0)::bigint
           AS checksum_failures,
       (SELECT count(*) FROM pg_prepared_xacts WHERE database = %(database)s)::int AS prepared_transactions,
       (SELECT count(*) FROM pg_stat_activity
        WHERE datname = %(database)s AND backend_type = 'client backend'
          AND application_name NOT LIKE 'squizzle%%')::int AS clients
