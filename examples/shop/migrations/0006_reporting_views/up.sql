-- Why: the help desk wants one line a customer and the shop page its reviews, both up to the minute (views); buyers
-- want sales a product, which takes seconds to add up and may be an hour old (materialized view).
-- Lock: ACCESS SHARE on the tables read, which only DDL conflicts with; ACCESS EXCLUSIVE on the new objects.

CREATE VIEW customer_overview AS
SELECT
    u.id AS user_id,
    u.email,
    u.full_name,
    coalesce(o.order_count, 0) AS order_count,
    coalesce(o.open_orders, 0) AS open_orders,
    o.last_order_at
FROM users AS u
LEFT JOIN (
    SELECT
        user_id,
        count(*) AS order_count,
        count(*) FILTER (WHERE status IN ('pending', 'paid')) AS open_orders,
        max(placed_at) AS last_order_at
    FROM orders
    GROUP BY user_id
) AS o ON o.user_id = u.id
WHERE u.role = 'customer';

COMMENT ON VIEW customer_overview IS 'One line a customer, for the help desk';
COMMENT ON COLUMN customer_overview.open_orders IS 'Not on its way yet';

CREATE VIEW published_reviews AS
SELECT
    r.id AS review_id,
    r.product_id,
    p.name AS product_name,
    u.full_name AS author,
    r.rating,
    r.title,
    r.body,
    r.created_at
FROM reviews AS r
JOIN users AS u ON u.id = r.user_id
JOIN products AS p ON p.id = r.product_id
WHERE r.is_published;

CREATE MATERIALIZED VIEW product_sales AS
SELECT
    i.product_id,
    sum(i.quantity) AS units_sold,
    sum(i.line_total) AS revenue,
    max(i.order_placed_at) AS last_sold_at
FROM order_items AS i
JOIN orders AS o ON o.id = i.order_id AND o.placed_at = i.order_placed_at
WHERE o.status NOT IN ('cancelled', 'refunded')
GROUP BY i.product_id
WITH DATA;

-- REFRESH … CONCURRENTLY needs a unique index over all rows.
CREATE UNIQUE INDEX product_sales_product_id_key ON product_sales (product_id);
CREATE INDEX product_sales_revenue_idx ON product_sales (revenue DESC);

COMMENT ON MATERIALIZED VIEW product_sales IS 'Refreshed every hour with REFRESH MATERIALIZED VIEW CONCURRENTLY';
