-- About the data only: 0010 replaces the constraint of this version by NOT NULL.
SELECT NOT EXISTS (SELECT 1 FROM orders WHERE total_amount IS NULL);

SELECT (SELECT coalesce(sum(total_amount), 0) FROM orders)
     = (SELECT coalesce(sum(shipping_fee), 0) FROM orders) + (SELECT coalesce(sum(line_total), 0) FROM order_items);
