SELECT to_regprocedure('touch_updated_at()') IS NOT NULL;

-- tgtype 19: ROW (1) + BEFORE (2) + UPDATE (16). On INSERT it must not fire.
SELECT count(*) = 3 AND bool_and(tgtype = 19 AND tgenabled = 'O')
FROM pg_trigger
WHERE tgfoid = to_regprocedure('touch_updated_at()')
  AND tgrelid IN (to_regclass('users'), to_regclass('products'), to_regclass('orders'));

-- Every partition of orders has the trigger as well.
SELECT NOT EXISTS (
    SELECT 1
    FROM pg_inherits AS h
    WHERE h.inhparent = to_regclass('orders')
      AND NOT EXISTS (
          SELECT 1
          FROM pg_trigger AS t
          WHERE t.tgrelid = h.inhrelid AND t.tgfoid = to_regprocedure('touch_updated_at()') AND t.tgenabled = 'O'
      )
);

SELECT NOT EXISTS (SELECT 1 FROM products WHERE updated_at < created_at);

SELECT NOT EXISTS (SELECT 1 FROM orders WHERE updated_at < placed_at);
