-- Cannot be undone: the rows of users and addresses are gone with their tables; only a backup has them.

DROP TABLE addresses;
DROP TABLE users;
