-- Why: second step to a stored total: fill the orders from before the release that writes it, and let nobody add
-- another one without. NOT VALID binds new rows at once and leaves the look at the old ones to 0010.
-- Lock: the UPDATE takes ROW EXCLUSIVE on orders and locks the rows it fills until commit; readers and new orders go
-- on. ADD CONSTRAINT … NOT VALID takes ACCESS EXCLUSIVE without reading a row, last, so that it is held for an instant.

SET LOCAL shop.keep_updated_at = 'on';

UPDATE orders AS o
SET total_amount = o.shipping_fee + coalesce(
    (
        SELECT sum(i.line_total)
        FROM order_items AS i
        WHERE i.order_id = o.id AND i.order_placed_at = o.placed_at
    ),
    0
)
WHERE o.total_amount IS NULL;

ALTER TABLE orders ADD CONSTRAINT orders_total_amount_present CHECK (total_amount IS NOT NULL) NOT VALID;
