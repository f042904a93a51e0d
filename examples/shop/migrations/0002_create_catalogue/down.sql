-- Cannot be undone: the rows of stock_levels, products and categories are gone with their tables; only a backup has them.

DROP TABLE stock_levels;
DROP TABLE products;
DROP TABLE categories;
