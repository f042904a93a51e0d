-- No row is changed: updated_at stays as it is and is again the application's business.
-- DROP TRIGGER takes ACCESS EXCLUSIVE on its table, unlike CREATE TRIGGER: readers wait too.

DROP TRIGGER orders_touch_updated_at ON orders;
DROP TRIGGER products_touch_updated_at ON products;
DROP TRIGGER users_touch_updated_at ON users;
DROP FUNCTION touch_updated_at();
