"""Copies of a whole cluster, file by file, as pg_basebackup makes them."""
