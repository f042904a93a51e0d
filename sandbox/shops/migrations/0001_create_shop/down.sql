DROP TABLE reviews, orders, customers;
