"""What a database knows of its tables: how big, how busy, how long they are held."""

from __future__ import annotations

import psycopg

from squizzle.analysis.locks.records import RelationName
from squizzle.analysis.weight import Facts, TableFacts
from squizzle.postgres.access import Connection
from squizzle.postgres.sql_files import load_sql
from squizzle.postgres.translation import translate_error


def read_table_facts(connection: Connection) -> Facts:
    """Size, rows, write rate and oldest lock holder of every table. Nothing is changed.

    A partitioned table is as big as its partitions are together only to a reader who adds them up; here each counts by
    itself.

    Raises:
        DatabaseError: The session was lost.
    """
    try:
        rows = connection.execute(load_sql("squizzle.postgres", "table_facts")).fetchall()
    except psycopg.Error as exc:
        raise translate_error(exc, doing="read the sizes of tables") from exc
    return {
        RelationName(schema=schema, name=name): TableFacts(
            size_bytes=size, rows=count, writes_per_s=writes, longest_transaction=age
        )
        for schema, name, size, count, writes, age in rows
    }
