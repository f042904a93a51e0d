SELECT format_type(atttypid, atttypmod) = 'numeric(12,2)'
FROM pg_attribute
WHERE attrelid = to_regclass('orders') AND attname = 'total_amount' AND NOT attisdropped;

-- Where a total is stored, it is the right one.
SELECT NOT EXISTS (
    SELECT 1
    FROM orders AS o
    LEFT JOIN (
        SELECT order_id, order_placed_at, sum(line_total) AS items_total
        FROM order_items
        GROUP BY order_id, order_placed_at
    ) AS i ON i.order_id = o.id AND i.order_placed_at = o.placed_at
    WHERE o.total_amount <> o.shipping_fee + coalesce(i.items_total, 0)
);
