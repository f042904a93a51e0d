-- The notes of triggers that were switched off, the oldest first.
SELECT p.id, p.schema_name, p.table_name, p.trigger_name, p.function_name, p.table_id::bigint, p.trigger_id::bigint,
       p.former_mode, p.paused_at, p.paused_by, p.why, p.until, p.until <= clock_timestamp() AS is_overdue
FROM squizzle.paused_trigger p
ORDER BY p.id
