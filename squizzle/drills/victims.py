"""What a drill breaks, found in whatever database it is played on. Nothing is changed."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from psycopg import sql

from squizzle.errors import CouldNotVerifyError
from squizzle.postgres.access import Connection
from squizzle.postgres.sql_files import load_sql
from squizzle.postgres.translation import translate_error

# How a value is made another one, without a length or a range that it could leave.
_OTHER = {
    "text": "reverse({})",
    "varchar": "reverse({})",
    "int4": "{} - 1",
    "int8": "{} - 1",
    "numeric": "{} - 1",
    "float8": "{} - 1",
    "bool": "NOT {}",
    "timestamptz": "{} - interval '1 day'",
}
# Fewer rows are read as fast without an index, and fewer values are not looked up by one.
_INDEXED_ROWS = 500
_INDEXED_VALUES = 50
# Rows that one question may have to read without the index: a fraction of a second.
_READ_ROWS = 500_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Victim:
    """A table, and a column of it that can be damaged without the server noticing.

    Attributes:
        schema, table, column: Their names.
        kind: The type's name in pg_type.
    """

    schema: str
    table: str
    column: str
    kind: str

    @property
    def name(self) -> str:
        """The table, as reports call it."""
        return f"{self.schema}.{self.table}"

    @property
    def quoted(self) -> str:
        """The table, for a script."""
        return quoted(self.schema, self.table)

    @property
    def update(self) -> str:
        """The statement that damages every row."""
        column = quoted(self.column)
        return f"UPDATE {self.quoted} SET {column} = {_OTHER[self.kind].format(column)}"  # noqa: S608 - quoted above


@dataclass(frozen=True, kw_only=True, slots=True)
class LostIndex:
    """An index whose loss makes queries slower.

    Attributes:
        schema, table, column: What it is on.
        kind: The column's type.
        index: Its name.
        definition: The statement that makes it.
    """

    schema: str
    table: str
    column: str
    kind: str
    index: str
    definition: str

    @property
    def drop(self) -> str:
        """The statement that loses it."""
        return f"DROP INDEX {quoted(self.schema, self.index)}"

    @property
    def query(self) -> str:
        """What the application asks: rows of the table for each of many values; its parameter is their array."""
        column = quoted(self.column)
        return f"{self.query_begins} AS t WHERE t.{column} = v.value)) FROM unnest(%s::{self.kind}[]) AS v (value)"

    @property
    def query_begins(self) -> str:
        """By which that question is known again among those that the server has counted."""
        return f"SELECT sum((SELECT count(*) FROM {quoted(self.schema, self.table)}"  # noqa: S608 - quoted


def quoted(*names: str) -> str:
    """A name as a script writes it."""
    return sql.Identifier(*names).as_string()


def find_victim(connection: Connection, *, schema: str) -> Victim:
    """The largest table with a column that can be damaged.

    Raises:
        CouldNotVerifyError: This database has no such table.
        DatabaseError: The session was lost.
    """
    try:
        rows = connection.execute(load_sql("squizzle.drills", "victims"), {"schema": schema, "types": list(_OTHER)})
        for one in rows.fetchall():
            victim = Victim(schema=one[0], table=one[1], column=one[2], kind=one[3])
            query = sql.SQL("SELECT 1 FROM {} WHERE {} IS NOT NULL LIMIT 1").format(
                sql.Identifier(victim.schema, victim.table), sql.Identifier(victim.column)
            )
            if connection.execute(query).fetchone():
                return victim
    except psycopg.Error as exc:
        raise translate_error(exc, doing="look for a table to damage") from exc
    raise CouldNotVerifyError(
        f"no table of the schema {schema} has rows and a column outside of every key, check and index to damage",
        hint="play this disaster on the example company: leave the source empty",
    )


def find_index(connection: Connection, *, schema: str) -> tuple[LostIndex, list[object]]:
    """The index of the largest table that can be lost, and values that are looked up by it.

    Raises:
        CouldNotVerifyError: This database has no such index.
        DatabaseError: The session was lost.
    """
    wanted = {"schema": schema, "rows": _INDEXED_ROWS, "values": _INDEXED_VALUES}
    try:
        row = connection.execute(load_sql("squizzle.drills", "indexes"), wanted).fetchone()
        if row is not None:
            found = LostIndex(schema=row[0], table=row[1], column=row[2], kind=row[3], index=row[4], definition=row[5])
            column = sql.Identifier(found.column)
            query = sql.SQL("SELECT DISTINCT {} FROM {} WHERE {} IS NOT NULL LIMIT {}").format(
                column,
                sql.Identifier(found.schema, found.table),
                column,
                max(1, min(_INDEXED_VALUES, _READ_ROWS // row[6])),
            )
            return found, [one for (one,) in connection.execute(query).fetchall()]
    except psycopg.Error as exc:
        raise translate_error(exc, doing="look for an index to lose") from exc
    raise CouldNotVerifyError(
        f"the schema {schema} has no index of a table with {_INDEXED_ROWS} rows that nothing but speed needs",
        hint="play this disaster on the example company: leave the source empty",
    )
