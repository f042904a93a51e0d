-- The functions of users that are written in a language of statements, each with its text: what may change something.
SELECT n.nspname::text, p.proname::text, p.provolatile = 'v', l.lanname IN ('sql', 'plpgsql'),
       coalesce(nullif(p.prosrc, ''), pg_get_functiondef(p.oid))
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND l.lanname NOT IN ('c', 'internal')
    AND p.prokind IN ('f', 'p', 'w')
