SELECT relkind = 'p' FROM pg_class WHERE oid = to_regclass('orders');

-- Eight quarters and the default; later versions may add more.
SELECT count(*) >= 9 FROM pg_inherits WHERE inhparent = to_regclass('orders');

SELECT partdefid = to_regclass('orders_default') FROM pg_partitioned_table WHERE partrelid = to_regclass('orders');

SELECT enum_range(NULL::order_status)::text[]
    @> ARRAY['pending', 'paid', 'shipped', 'delivered', 'cancelled', 'refunded'];

-- A sequence of its own: no column owns it.
SELECT NOT EXISTS (
    SELECT 1
    FROM pg_depend
    WHERE classid = 'pg_class'::regclass AND objid = to_regclass('order_number_seq') AND deptype IN ('a', 'i')
)
WHERE to_regclass('order_number_seq') IS NOT NULL;

SELECT count(*) = 2
FROM pg_constraint
WHERE conrelid = to_regclass('orders') AND contype = 'f' AND convalidated
  AND conname IN ('orders_user_id_fkey', 'orders_shipping_address_id_fkey');

SELECT count(*) = 1
FROM pg_constraint
WHERE conrelid = to_regclass('order_items') AND confrelid = to_regclass('orders') AND contype = 'f'
  AND conname = 'order_items_order_fkey' AND cardinality(conkey) = 2 AND convalidated;

SELECT attgenerated = 's'
FROM pg_attribute
WHERE attrelid = to_regclass('order_items') AND attname = 'line_total' AND NOT attisdropped;

SELECT NOT EXISTS (SELECT 1 FROM order_items WHERE line_total < 0);

SELECT NOT EXISTS (
    SELECT 1 FROM orders AS o LEFT JOIN users AS u ON u.id = o.user_id WHERE u.id IS NULL
);

SELECT NOT EXISTS (
    SELECT 1
    FROM order_items AS i
    LEFT JOIN orders AS o ON o.id = i.order_id AND o.placed_at = i.order_placed_at
    WHERE o.id IS NULL
);

-- No quarter that has its own partition has rows in the default one.
SELECT NOT EXISTS (
    SELECT 1
    FROM orders_default
    WHERE placed_at >= '2025-01-01 00:00:00+00' AND placed_at < '2027-01-01 00:00:00+00'
);
