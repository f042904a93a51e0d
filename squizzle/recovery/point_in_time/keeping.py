"""Only some tables of a recovered cluster: the others are emptied there, so that a dump has the rows of these alone.

The scratch cluster goes away, so it is cut to what is wanted, and dump, restore and comparison are those of a whole
database: types, sequences, functions and indexes of the tables come along.
"""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
from psycopg import sql

from squizzle.errors import InvalidInputError
from squizzle.postgres.access import Connection
from squizzle.postgres.translation import translate_error

_KINDS = """
    SELECT wanted, c.oid, c.relkind FROM unnest(%s::text[]) AS wanted LEFT JOIN pg_class c
      ON c.oid = to_regclass(wanted)
"""
# A partitioned table is kept with its partitions, a table with what inherits from it: a query of it reads them, too.
_KEPT = """
    WITH RECURSIVE kept AS (
        SELECT unnest(%s::oid[]) AS oid UNION SELECT inhrelid FROM pg_inherits JOIN kept ON inhparent = kept.oid
    ) SELECT oid FROM kept
"""
_OTHERS = """
    SELECT format('%%I.%%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND c.oid <> ALL (%s) AND c.oid >= 16384 AND n.nspname NOT LIKE 'pg\\_%%'
    ORDER BY 1
"""
# What a kept table refers to is going to be empty; a partition has the constraint from the table that it is one of.
_KEYS = """
    SELECT conrelid::regclass::text, format('%%I', conname) FROM pg_constraint
    WHERE contype = 'f' AND conparentid = 0 AND confrelid <> ALL (%s)
      AND conrelid IN (SELECT coalesce(pg_partition_root(oid), oid) FROM unnest(%s::oid[]) AS oid)
"""
_VIEWS = """
    SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'm'
"""
_TABLE_KINDS = frozenset({"r", "p"})


def keep_tables(connection: Connection, tables: Sequence[str]) -> None:
    """Empty every other table of a database of a scratch cluster. Never for any other: rows are gone for good.

    Foreign keys from the kept tables to emptied ones are dropped, and materialized views are emptied.

    Args:
        connection: A superuser's session in the database.
        tables: As `schema.table`, quoted where SQL would need it.

    Raises:
        InvalidInputError: There is no such table. Nothing was changed.
        DatabaseError: A statement failed; nothing was changed.
    """
    try:
        with connection.transaction():
            # No trigger runs, and no event trigger.
            connection.execute("SET LOCAL session_replication_role = replica")
            kept = [oid for (oid,) in connection.execute(_KEPT, (_wanted(connection, tables),))]
            for table, key in connection.execute(_KEYS, (kept, kept)).fetchall():
                _execute(connection, "ALTER TABLE {} DROP CONSTRAINT {}", table, key)
            others = [name for (name,) in connection.execute(_OTHERS, (kept,))]
            if others:
                _execute(connection, "TRUNCATE {}", ", ".join(f"ONLY {name}" for name in others))
            for (view,) in connection.execute(_VIEWS).fetchall():
                _execute(connection, "REFRESH MATERIALIZED VIEW {} WITH NO DATA", view)
    except psycopg.Error as exc:
        raise translate_error(exc, doing="cut the recovered database down to the wanted tables") from exc


def _wanted(connection: Connection, tables: Sequence[str]) -> list[int]:
    try:
        found = connection.execute(_KINDS, (list(tables),)).fetchall()
    except (psycopg.errors.InvalidName, psycopg.errors.SyntaxError) as exc:
        raise InvalidInputError(
            f"of {', '.join(tables)} one is no name of a table", hint="write it as schema.table"
        ) from exc
    missing = [name for name, _oid, kind in found if kind not in _TABLE_KINDS]
    if missing:
        raise InvalidInputError(
            f"there was no table {', '.join(missing)} at that point; nothing was restored",
            hint="write it as schema.table, quoted where SQL needs it, by the name that it had then",
        )
    return [oid for _name, oid, _kind in found]


def _execute(connection: Connection, command: str, *names: str) -> None:
    # The names come quoted from the server itself.
    connection.execute(sql.SQL(command).format(*(sql.SQL(name) for name in names)))
