DROP INDEX IF EXISTS reviews_one_each;
