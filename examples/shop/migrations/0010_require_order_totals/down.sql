-- No row is changed. The constraint comes back NOT VALID, as 0009 left it.

ALTER TABLE orders ADD CONSTRAINT orders_total_amount_present CHECK (total_amount IS NOT NULL) NOT VALID;
ALTER TABLE orders ALTER COLUMN total_amount DROP NOT NULL;
