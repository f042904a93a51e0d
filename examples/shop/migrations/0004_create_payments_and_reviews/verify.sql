SELECT to_regclass('payments') IS NOT NULL AND to_regclass('reviews') IS NOT NULL;

SELECT attidentity = 'a' FROM pg_attribute WHERE attrelid = to_regclass('payments') AND attname = 'id';

SELECT count(*) = 1
FROM pg_constraint
WHERE conrelid = to_regclass('payments') AND confrelid = to_regclass('orders') AND contype = 'f'
  AND conname = 'payments_order_fkey' AND cardinality(conkey) = 2 AND convalidated;

SELECT count(*) = 2
FROM pg_constraint
WHERE conrelid = to_regclass('reviews') AND contype = 'f' AND convalidated
  AND conname IN ('reviews_product_id_fkey', 'reviews_user_id_fkey');

SELECT count(*) = 1
FROM pg_constraint
WHERE conrelid = to_regclass('reviews') AND conname = 'reviews_rating_range' AND contype = 'c' AND convalidated;

SELECT NOT EXISTS (
    SELECT 1 FROM reviews AS r LEFT JOIN users AS u ON u.id = r.user_id WHERE u.id IS NULL
);

SELECT NOT EXISTS (
    SELECT 1
    FROM payments AS p
    LEFT JOIN orders AS o ON o.id = p.order_id AND o.placed_at = p.order_placed_at
    WHERE o.id IS NULL
);
