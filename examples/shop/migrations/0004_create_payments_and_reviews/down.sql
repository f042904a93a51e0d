-- Cannot be undone: the rows of reviews and payments are gone with their tables; only a backup has them.

DROP TABLE reviews;
DROP TABLE payments;
