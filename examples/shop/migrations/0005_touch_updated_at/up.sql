-- Why: the search index and the accounts department fetch what changed since they last looked, and application code
-- kept forgetting updated_at.
-- Lock: CREATE TRIGGER takes SHARE ROW EXCLUSIVE on users, products, orders and its partitions: writers wait until
-- commit, readers do not.

-- Only BEFORE UPDATE: an inserted row keeps the time it brings, so loading a backup changes nothing.
-- A backfill is not an edit: it says SET LOCAL shop.keep_updated_at = 'on' in its transaction. That costs no lock;
-- ALTER TABLE … DISABLE TRIGGER would hold up every writer for as long as the backfill runs.
CREATE FUNCTION touch_updated_at() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    IF current_setting('shop.keep_updated_at', true) IS DISTINCT FROM 'on' THEN
        NEW.updated_at := now();
    END IF;
    RETURN NEW;
END;
$$;

COMMENT ON FUNCTION touch_updated_at() IS 'Keeps updated_at true on every UPDATE; backfills set shop.keep_updated_at';

CREATE TRIGGER users_touch_updated_at BEFORE UPDATE ON users
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER products_touch_updated_at BEFORE UPDATE ON products
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER orders_touch_updated_at BEFORE UPDATE ON orders
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
