"""The archive of PostgreSQL's write-ahead log: put in, fetched back, checked for gaps, marked before a migration."""
