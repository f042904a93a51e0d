SELECT count(*) = 2
FROM pg_class
WHERE oid IN (to_regclass('customer_overview'), to_regclass('published_reviews')) AND relkind = 'v';

SELECT relkind = 'm' AND relispopulated FROM pg_class WHERE oid = to_regclass('product_sales');

SELECT indisunique AND indisvalid AND indpred IS NULL
FROM pg_index
WHERE indexrelid = to_regclass('product_sales_product_id_key') AND indrelid = to_regclass('product_sales');

SELECT (SELECT count(*) FROM customer_overview) = (SELECT count(*) FROM users WHERE role = 'customer');

-- Nobody's review gets lost in the joins.
SELECT (SELECT count(*) FROM published_reviews) = (SELECT count(*) FROM reviews WHERE is_published);

SELECT NOT EXISTS (SELECT 1 FROM product_sales WHERE revenue < 0 OR units_sold < 1);
