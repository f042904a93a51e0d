-- Why: third step to a stored total: the column is complete, and reports may rely on it.
-- Lock: VALIDATE CONSTRAINT reads every order under SHARE UPDATE EXCLUSIVE, so reads and writes go on. SET NOT NULL
-- and DROP CONSTRAINT take ACCESS EXCLUSIVE, but read nothing: the valid CHECK proves that there is no NULL.

ALTER TABLE orders VALIDATE CONSTRAINT orders_total_amount_present;
ALTER TABLE orders ALTER COLUMN total_amount SET NOT NULL;
ALTER TABLE orders DROP CONSTRAINT orders_total_amount_present;
