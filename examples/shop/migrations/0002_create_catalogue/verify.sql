SELECT to_regclass('categories') IS NOT NULL
   AND to_regclass('products') IS NOT NULL
   AND to_regclass('stock_levels') IS NOT NULL;

SELECT format_type(atttypid, atttypmod) = 'jsonb' AND attnotnull
FROM pg_attribute
WHERE attrelid = to_regclass('products') AND attname = 'attributes' AND NOT attisdropped;

SELECT am.amname = 'gin' AND i.indisvalid
FROM pg_index AS i
JOIN pg_class AS c ON c.oid = i.indexrelid
JOIN pg_am AS am ON am.oid = c.relam
WHERE i.indexrelid = to_regclass('products_attributes_idx') AND i.indrelid = to_regclass('products');

SELECT attgenerated = 's'
FROM pg_attribute
WHERE attrelid = to_regclass('stock_levels') AND attname = 'available' AND NOT attisdropped;

SELECT count(*) = 3
FROM pg_constraint
WHERE contype = 'f' AND convalidated
  AND conname IN ('categories_parent_id_fkey', 'products_category_id_fkey', 'stock_levels_product_id_fkey')
  AND conrelid IN (to_regclass('categories'), to_regclass('products'), to_regclass('stock_levels'));

SELECT count(*) = 1
FROM pg_constraint
WHERE conrelid = to_regclass('products') AND conname = 'products_price_range' AND contype = 'c' AND convalidated;

SELECT NOT EXISTS (SELECT 1 FROM stock_levels WHERE available IS DISTINCT FROM on_hand - reserved OR available < 0);

SELECT NOT EXISTS (SELECT 1 FROM products WHERE price <= 0);
