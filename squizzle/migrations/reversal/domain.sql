-- One domain with its checks.
SELECT t.oid::regtype::text, t.typnotnull, pg_get_expr(t.typdefaultbin, 0),
       coalesce((SELECT jsonb_agg(jsonb_build_object('name', k.conname, 'definition', pg_get_constraintdef(k.oid),
                                                     'validated', k.convalidated,
                                                     'comment', obj_description(k.oid, 'pg_constraint'))
                                  ORDER BY k.conname)
                 FROM pg_constraint k WHERE k.contypid = t.oid AND k.contype = 'c'), '[]')
FROM pg_type t WHERE t.oid = %(oid)s AND t.typtype = 'd'
