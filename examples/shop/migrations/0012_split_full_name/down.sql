-- full_name comes back exactly, for every row: given_name, a space, family_name. It comes back as the last column.
-- The parts stay filled, as the release between 0011 and 0012 writes them.

-- squizzle: allow L102 reason="users has some ten thousand rows: under a second"
DROP INDEX users_family_name_idx;

ALTER TABLE users ADD COLUMN full_name text;

SET LOCAL shop.keep_updated_at = 'on';

-- squizzle: allow L129 reason="users has some ten thousand rows: under a second"
UPDATE users SET full_name = coalesce(given_name || ' ', '') || family_name WHERE full_name IS NULL;

-- squizzle: allow L113 L129 reason="users has some ten thousand rows: under a second"
ALTER TABLE users ALTER COLUMN full_name SET NOT NULL;
-- squizzle: allow L108 L129 reason="users has some ten thousand rows: under a second"
ALTER TABLE users ADD CONSTRAINT users_full_name_length CHECK (length(full_name) BETWEEN 1 AND 200);
-- squizzle: allow L101 L129 reason="users has some ten thousand rows: under a second"
CREATE INDEX users_full_name_idx ON users (full_name);
COMMENT ON COLUMN users.full_name IS 'As the person writes it, e.g. Zoë van der O''Brien';

CREATE OR REPLACE VIEW customer_overview AS
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

CREATE OR REPLACE VIEW published_reviews AS
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

ALTER TABLE users DROP CONSTRAINT users_name_length;
ALTER TABLE users ALTER COLUMN family_name DROP NOT NULL;
-- There is no way to un-validate a constraint but to make it anew.
ALTER TABLE users DROP CONSTRAINT users_family_name_one_word;
ALTER TABLE users
    ADD CONSTRAINT users_family_name_one_word CHECK (strpos(family_name, ' ') = 0) NOT VALID;
