"""Taking renames back on a copy, so that values are found again under the names that they had.

A copy of files keeps the numbers of tables and columns: what was renamed is told from what was dropped and made anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from squizzle.postgres.access import Connection
from squizzle.postgres.translation import translate_error
from squizzle.proof.records import RowChange, RowDifference

_RELATIONS = """
    SELECT c.oid::bigint, n.nspname::text, c.relname::text
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND c.oid >= 16384 AND n.nspname NOT LIKE 'pg\\_%'
"""
# One that is inherited is renamed with the parent's.
_COLUMNS = """
    SELECT a.attrelid::bigint, a.attnum, a.attname::text
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relkind IN ('r', 'p') AND c.oid >= 16384 AND a.attnum > 0 AND NOT a.attisdropped AND a.attinhcount = 0
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Names:
    """What tables and columns are called, by their numbers.

    Attributes:
        tables: Schema and name.
        columns: By the table's number and the column's.
    """

    tables: dict[int, tuple[str, str]]
    columns: dict[tuple[int, int], str]


def read_names(connection: Connection) -> Names:
    """The names in a database. Nothing is changed.

    Raises:
        DatabaseError: The session was lost.
    """
    try:
        tables = {oid: (schema, name) for oid, schema, name in connection.execute(_RELATIONS)}
        columns = {(oid, number): name for oid, number, name in connection.execute(_COLUMNS)}
    except psycopg.Error as exc:
        raise translate_error(exc, doing="read the names of columns") from exc
    return Names(tables=tables, columns=columns)


def take_renames_back(connection: Connection, before: Names) -> bool:
    """Give tables and columns of a copy the names that they had; new ones that have such a name get out of the way.

    Args:
        connection: A session in a copy that nobody needs afterwards.
        before: The names in the database that it was copied from.

    Returns:
        Whether it could be done; else every name is as it was.
    """
    now = read_names(connection)
    try:
        with connection.transaction():
            for command in _commands(before, now):
                connection.execute(command)
    except psycopg.Error:
        return False
    return True


_HAS = """
    SELECT format('%I.%I', n.nspname, c.relname), array_agg(a.attname::text) FILTER (WHERE a.attnum IS NOT NULL)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relkind IN ('r', 'p') AND c.oid >= 16384
    GROUP BY 1
"""


def gone_with_script(after: Connection, lost: Sequence[RowDifference]) -> tuple[RowDifference, ...]:
    """Those of the lost rows and values whose table, or whose columns, a copy no longer has: no row need be looked at.

    Args:
        after: A session in a copy on which only the up script ran, and whose renames were taken back.
        lost: What did not come back.

    Raises:
        DatabaseError: The session was lost.
    """
    try:
        has = {table: set(columns or ()) for table, columns in after.execute(_HAS)}
    except psycopg.Error as exc:
        raise translate_error(exc, doing="read which columns are left") from exc
    return tuple(one for one in lost if _is_gone(one, has.get(one.table)))


def _is_gone(one: RowDifference, left: set[str] | None) -> bool:
    if one.change is RowChange.UNEXPECTED:
        return False
    if left is None:
        return True
    return one.change is RowChange.CHANGED and bool(one.columns) and not left & set(one.columns)


def _commands(before: Names, now: Names) -> Iterator[sql.Composed]:
    renamed = {key: name for key, name in before.columns.items() if now.columns.get(key, name) != name}
    wanted = {(oid, name) for (oid, _), name in renamed.items()}
    # Two steps, so that two that have changed places can change back.
    for key, name in now.columns.items():
        if key in renamed or ((key[0], name) in wanted and key not in before.columns):
            yield _rename_column(now, key, name, _away(key[1]))
    for key, name in renamed.items():
        yield _rename_column(now, key, _away(key[1]), name)
    yield from _table_commands(before, now)


def _table_commands(before: Names, now: Names) -> Iterator[sql.Composed]:
    renamed = {oid: place for oid, place in before.tables.items() if now.tables.get(oid, place) != place}
    wanted = set(renamed.values())
    for oid, place in now.tables.items():
        if oid in renamed or (place in wanted and oid not in before.tables):
            yield sql.SQL("ALTER TABLE {} RENAME TO {}").format(sql.Identifier(*place), sql.Identifier(_away(oid)))
    for oid, (schema, name) in renamed.items():
        at = now.tables[oid][0]
        if at != schema:
            yield sql.SQL("ALTER TABLE {} SET SCHEMA {}").format(sql.Identifier(at, _away(oid)), sql.Identifier(schema))
        yield sql.SQL("ALTER TABLE {} RENAME TO {}").format(sql.Identifier(schema, _away(oid)), sql.Identifier(name))


def _rename_column(now: Names, key: tuple[int, int], name: str, to: str) -> sql.Composed:
    return sql.SQL("ALTER TABLE {} RENAME COLUMN {} TO {}").format(
        sql.Identifier(*now.tables[key[0]]), sql.Identifier(name), sql.Identifier(to)
    )


def _away(number: int) -> str:
    return f"squizzle_{number}"
