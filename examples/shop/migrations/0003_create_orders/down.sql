-- Cannot be undone: the rows of order_items and orders are gone with their tables, and order_number_seq starts again
-- at 100001 when it is made anew; only a backup has them.

DROP TABLE order_items;
DROP TABLE orders;
DROP SEQUENCE order_number_seq;
DROP TYPE order_status;
