-- Why: the order list adds up order_items for every line it shows. First of three steps to a stored total: the column,
-- empty. The release after this one writes it with every new order; 0009 fills the old ones, 0010 requires it.
-- Lock: ACCESS EXCLUSIVE on orders and its partitions, for an instant: a column without a default rewrites nothing.

ALTER TABLE orders ADD COLUMN total_amount numeric(12, 2);

COMMENT ON COLUMN orders.total_amount IS 'shipping_fee + the line_total of all items';
