-- What became of migrations; one row. Of every version its newest row counts.
WITH newest AS (
    SELECT DISTINCT ON (version) version, direction, success, applied_at FROM {history} ORDER BY version, id DESC
)
SELECT count(*) FILTER (WHERE success IS FALSE)::int AS failed_migrations,
       coalesce(array_agg(version ORDER BY version) FILTER (WHERE success IS FALSE), '{{}}') AS failed,
       count(*) FILTER (WHERE success IS NULL)::int AS running_migrations,
       extract(epoch FROM clock_timestamp() - min(applied_at) FILTER (WHERE success IS NULL))::float8 AS running_s,
       extract(epoch FROM clock_timestamp() - (SELECT max(applied_at) FROM {history} WHERE success))::float8
         AS last_success_s,
       coalesce(array_agg(version) FILTER (WHERE success AND direction = 'apply' OR success IS FALSE AND direction <> 'apply'),
                '{{}}') AS applied
FROM newest
