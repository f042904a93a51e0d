-- Nothing is lost for good: every total can be added up again from order_items and shipping_fee (0009 does).

ALTER TABLE orders DROP COLUMN total_amount;
