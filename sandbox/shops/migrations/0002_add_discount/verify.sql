SELECT count(discount_cents) = count(*) FROM orders;
