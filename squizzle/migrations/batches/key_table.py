"""The table whose key the ranges are of, as the database has it; refuses keys that would be slow or would miss rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import NoReturn

import psycopg
from psycopg import sql

from squizzle.analysis.batchable import BatchShape, TableName, Verb
from squizzle.errors import InvalidInputError
from squizzle.postgres.access import Connection
from squizzle.postgres.sql_files import load_sql

_PACKAGE = "squizzle.migrations.batches"
# What has rows of its own, and, where it is only read, materialized views.
_WRITABLE = ("r", "p")
_READABLE = ("r", "p", "m")

Key = tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Column:
    name: str
    type: str
    not_null: bool
    is_time: bool


class KeyTable:
    """Ranges of one table's key.

    Args:
        connection: The session that runs the script; it may have set a search path.
        shape: The statement.
        where: `0007_x/up.sql:12`, for messages.

    Raises:
        InvalidInputError: No such table or column, no index that the key leads, a null in the key, or an aggregate in
            the SELECT list. Nothing was changed.
    """

    def __init__(self, connection: Connection, shape: BatchShape, where: str) -> None:
        self._connection = connection
        self._shape = shape
        self._where = where
        self._id, self.name = self._find(shape.source, _READABLE if shape.verb is Verb.INSERT else _WRITABLE)
        self._columns = self._read_columns()
        self._check_index()
        self._check_nulls()
        if shape.verb is Verb.INSERT:
            self._check_insert()

    def highest(self) -> Key | None:
        """The last key; None when the table is empty."""
        order = self._list("{} DESC")
        query = sql.SQL("SELECT {} FROM {} k ORDER BY {} LIMIT 1").format(self._texts(), self._source(), order)
        return self._one_key(query)

    def bound(self, *, after: Key | None, until: Key, size: int, by_condition: bool = False) -> Key | None:
        """The key of the last of the next `size` rows; None when not so many are left up to `until`.

        Args:
            after: Behind which key; None for the beginning.
            until: Up to which key.
            size: How many rows.
            by_condition: Whether only rows count that the statement's condition holds for.
        """
        called = self._shape.called if by_condition else "k"
        query = sql.SQL("SELECT {} FROM {} WHERE {} ORDER BY {} OFFSET {} LIMIT 1").format(
            self._texts(called),
            self._rows(by_condition=by_condition),
            self._wanted(after=after, until=until, by_condition=by_condition),
            self._list("{}", called),
            sql.Literal(size - 1),
        )
        if not by_condition:
            return self._one_key(query)
        with self._only_asking():
            return self._one_key(query)

    def count(self, *, after: Key | None, until: Key, by_condition: bool) -> int:
        """How many rows there are in a range; reads all of it. Args as for `bound`."""
        query = sql.SQL("SELECT count(*) FROM {} WHERE {}").format(
            self._rows(by_condition=by_condition), self._wanted(after=after, until=until, by_condition=by_condition)
        )
        with self._only_asking():
            row = self._connection.execute(query).fetchone()
        return int(row[0]) if row else 0

    def count_wanted(self, *, after: Key | None, until: Key) -> tuple[bool, int]:
        """How many rows the statement has to change in a range; all of it where that cannot be asked.

        Returns:
            Whether they were counted by the statement's condition, and how many there are.
        """
        if self._shape.stands_alone:
            with suppress(psycopg.ProgrammingError, psycopg.DataError, psycopg.errors.ReadOnlySqlTransaction):
                return True, self.count(after=after, until=until, by_condition=True)
        return False, self.count(after=after, until=until, by_condition=False)

    def range(self, *, after: Key | None, until: Key) -> str:
        """SQL that is true for the rows behind `after` up to and with `until`, in the words of the statement."""
        return self._range(self._shape.called, after=after, until=until).as_string(self._connection)

    def estimated_rows(self) -> int:
        """How many rows the planner thinks there are; it knows partitions, and tables that were never analysed."""
        query = sql.SQL("EXPLAIN (FORMAT JSON) SELECT FROM {}").format(self._source())
        row = self._connection.execute(query).fetchone()
        return max(1, round(row[0][0]["Plan"]["Plan Rows"])) if row else 1

    # What is there

    def _find(self, table: TableName, kinds: Sequence[str]) -> tuple[int, str]:
        row = self._connection.execute(
            "SELECT c.oid::bigint, c.relkind::text, format('%%I.%%I', n.nspname, c.relname)"
            " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(%s)",
            (_identifier(table).as_string(self._connection),),
        ).fetchone()
        if row is None:
            self._refuse(f"there is no table {table.name}", "correct the name, or create it before")
        if row[1] not in kinds:
            self._refuse(f"{row[2]} is no table", "name the table that has the rows")
        return int(row[0]), str(row[2])

    def _read_columns(self) -> tuple[_Column, ...]:
        columns = self._shape.columns
        rows = self._connection.execute(
            load_sql(_PACKAGE, "key_columns"), {"table": self._id, "columns": list(columns)}
        ).fetchall()
        found = tuple(_Column(name=name, type=kind, not_null=sure, is_time=time) for name, kind, sure, time in rows)
        if missing := [name for name in columns if name not in {column.name for column in found}]:
            self._refuse(f"{self.name} has no column {', '.join(missing)}", "name a column of it in key=…")
        return found

    def _check_index(self) -> None:
        parameters = {"table": self._id, "only": self._shape.only, "columns": list(self._shape.columns)}
        without = [row[0] for row in self._connection.execute(load_sql(_PACKAGE, "without_index"), parameters)]
        if without:
            names = ", ".join(without[:3]) + (" …" if len(without) > 3 else "")  # noqa: PLR2004
            key = ", ".join(self._shape.columns)
            self._refuse(
                f"{names} has no index that {key} leads, so each batch would read the whole table",
                f"CREATE INDEX CONCURRENTLY ON {without[0]} ({key}) in a version before, or choose another key",
            )

    def _check_nulls(self) -> None:
        for column in self._columns:
            name = sql.Identifier("k", column.name)
            query = sql.SQL("SELECT EXISTS (SELECT FROM {} k WHERE {} IS NULL)").format(self._source(), name)
            if not column.not_null and self._connection.execute(query).fetchone() == (True,):
                self._refuse(
                    f"{self.name} has rows whose {column.name} is null, which no range holds: they would be missed",
                    f"fill them before (… WHERE {column.name} IS NULL), or choose a key that is NOT NULL",
                )

    def _check_insert(self) -> None:
        target, name = self._find(self._shape.target, _WRITABLE)
        family = (
            "WITH RECURSIVE up(oid) AS"
            " (SELECT %s::oid UNION SELECT inhparent FROM pg_inherits JOIN up ON inhrelid = oid)"
            " SELECT oid::bigint FROM up"
        )
        ours, theirs = ({row[0] for row in self._connection.execute(family, (one,))} for one in (self._id, target))
        if ours & theirs:
            self._refuse(f"it copies {self.name} into {name}, so new rows could be copied again", "copy elsewhere")
        query = "SELECT DISTINCT proname::text FROM pg_proc WHERE prokind = 'a' AND proname = ANY (%s)"
        for (aggregate,) in self._connection.execute(query, (sorted(self._shape.functions),)):
            self._refuse(
                f"the aggregate {aggregate} would give one row for each range", "aggregate into a table before"
            )

    def _refuse(self, reason: str, hint: str) -> NoReturn:
        raise InvalidInputError(f"{self._where}: this statement cannot run in batches: {reason}", hint=hint)

    # SQL

    def _one_key(self, query: sql.Composed) -> Key | None:
        row = self._connection.execute(query).fetchone()
        return None if row is None else tuple(str(value) for value in row)

    def _source(self) -> sql.Composable:
        only = sql.SQL("ONLY ") if self._shape.only else sql.SQL("")
        return only + _identifier(self._shape.source)

    @contextmanager
    def _only_asking(self) -> Iterator[None]:
        """A condition may call a function that writes: asking must not do what the statement does.

        It is committed: whoever watches the database counts what is rolled back as failures.
        """
        with self._connection.transaction():
            self._connection.execute("SET TRANSACTION READ ONLY")
            yield

    def _rows(self, *, by_condition: bool) -> sql.Composable:
        """The table, with the name that conditions have for it."""
        shape = self._shape
        if by_condition and shape.called == shape.source.name:
            return self._source()
        return self._source() + sql.SQL(" {}").format(sql.Identifier(shape.called if by_condition else "k"))

    def _wanted(self, *, after: Key | None, until: Key, by_condition: bool) -> sql.Composed:
        if not by_condition:
            return self._range("k", after=after, until=until)
        # The script's own text.
        condition = sql.SQL(self._shape.condition or "true")
        # On a line of its own: the original may end with a comment.
        return (
            self._range(self._shape.called, after=after, until=until) + sql.SQL(" AND (\n") + condition + sql.SQL("\n)")
        )

    def _texts(self, called: str = "k") -> sql.Composed:
        # As JSON has them, times are unambiguous whatever DateStyle a script or a role has set.
        return sql.SQL(", ").join(
            sql.SQL("to_jsonb({}) #>> '{{}}'" if column.is_time else "{}::text").format(
                sql.Identifier(called, column.name)
            )
            for column in self._columns
        )

    def _list(self, template: str, called: str = "k") -> sql.Composed:
        parts = {"{}": sql.SQL("{}"), "{} DESC": sql.SQL("{} DESC")}[template]
        return sql.SQL(", ").join(parts.format(sql.Identifier(called, column.name)) for column in self._columns)

    def _range(self, called: str, *, after: Key | None, until: Key) -> sql.Composed:
        key = sql.SQL("({})").format(self._list("{}", called))
        upper = sql.SQL("{} <= ({})").format(key, self._literals(until))
        if after is None:
            return upper
        return sql.SQL("{} > ({}) AND {}").format(key, self._literals(after), upper)

    def _literals(self, key: Key) -> sql.Composed:
        # The type is the server's own name for it.
        return sql.SQL(", ").join(
            sql.SQL("{}::{}").format(sql.Literal(value), sql.SQL(column.type))
            for value, column in zip(key, self._columns, strict=True)
        )


def _identifier(table: TableName) -> sql.Identifier:
    return sql.Identifier(table.schema, table.name) if table.schema else sql.Identifier(table.name)
