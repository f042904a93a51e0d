"""Which statements without a mark run in batches: the policy `[batches] automatic_rows`, asked of the database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

import psycopg
from psycopg import sql

from squizzle.analysis.batchable import read_shape
from squizzle.analysis.records import BatchOptions, Statement
from squizzle.errors import InvalidInputError
from squizzle.migrations.session import work_in_schema
from squizzle.migrations.units import lost_state
from squizzle.postgres.access import Connection

_KEY = """
    SELECT array_agg(a.attname::text ORDER BY k.place)
    FROM pg_index x CROSS JOIN unnest(x.indkey) WITH ORDINALITY k(number, place)
    JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.number
    WHERE x.indrelid = to_regclass(%s) AND x.indisprimary
"""


class AutomaticBatches:
    """Decides for UPDATE and DELETE by the planner's estimate of the rows that they will change.

    A table that an earlier script of the same run creates is not there yet, so nothing of it is decided.

    Args:
        connection: A session in the target's database; nothing is changed.
        schema: The schema that scripts work in.
        rows: From how many rows on.
        lock_timeout: How long the planner may wait for somebody's DDL.
        on_note: Told about big statements that cannot run in batches, and why.
    """

    def __init__(
        self,
        connection: Connection,
        schema: str,
        rows: int,
        *,
        lock_timeout: timedelta,
        on_note: Callable[[str], None],
    ) -> None:
        self._connection = connection
        self._schema = schema
        self._rows = rows
        self._lock_timeout = lock_timeout
        self._on_note = on_note

    def __call__(self, earlier: Sequence[Statement], statement: Statement, source: str) -> BatchOptions | None:
        """How the statement runs in batches; None when it runs whole."""
        if statement.words[:1] not in {("UPDATE",), ("DELETE",), ("WITH",)}:
            return None
        where = f"{source}:{statement.line}"
        estimated = self._estimate(statement, where)
        if estimated is None or estimated < self._rows:
            return None
        if any(_moves_search_path(one) for one in earlier):
            return None  # who knows which table it will be
        try:
            return self._options(earlier, statement, where)
        except InvalidInputError as exc:
            self._on_note(f"about {estimated:,} rows, but it runs whole: {exc.message}")
            return None

    def _options(self, earlier: Sequence[Statement], statement: Statement, where: str) -> BatchOptions:
        if problem := lost_state(earlier):
            raise InvalidInputError(
                f"{where}: {problem}", hint="mark it in a script of its own: -- squizzle: batch key=…"
            )
        # Which key is not known before the table is.
        shape = read_shape(statement.sql, BatchOptions(key=()), where=where)
        name = sql.Identifier(shape.target.schema, shape.target.name) if shape.target.schema else None
        found = name or sql.Identifier(shape.target.name)
        with self._connection.transaction(force_rollback=True):
            work_in_schema(self._connection, self._schema)
            row = self._connection.execute(_KEY, (found.as_string(self._connection),)).fetchone()
        if row is None or row[0] is None:
            raise InvalidInputError(
                f"{where}: {shape.target.name} has no primary key", hint="mark it: -- squizzle: batch key=…"
            )
        options = BatchOptions(key=tuple(row[0]), line=statement.line, automatic=True)
        read_shape(statement.sql, options, where=where)
        return options

    def _estimate(self, statement: Statement, where: str) -> int | None:
        """How many rows the planner thinks it will change; None when it cannot say."""
        milliseconds = f"{round(self._lock_timeout.total_seconds() * 1000)}ms"
        try:
            with self._connection.transaction(force_rollback=True):
                work_in_schema(self._connection, self._schema)
                self._connection.execute("SELECT set_config('lock_timeout', %s, true)", (milliseconds,))
                row = self._connection.execute(b"EXPLAIN (FORMAT JSON) " + statement.sql.encode()).fetchone()
        except psycopg.errors.LockNotAvailable:
            self._on_note(
                f"{where}: whether it should run in batches is not known (its table is locked); it runs whole"
            )
            return None
        except (psycopg.errors.ProgrammingError, psycopg.errors.DataError):
            return None  # what it works on is not there yet, or never will be; running it shows which
        plan = row[0][0]["Plan"] if row else {}
        if plan.get("Node Type") != "ModifyTable":
            return None
        below = [part for part in plan.get("Plans", []) if part.get("Parent Relationship") != "InitPlan"]
        return sum(int(part["Plan Rows"]) for part in below)


def _moves_search_path(statement: Statement) -> bool:
    return statement.words[:1] in {("SET",), ("SELECT",)} and "search_path" in statement.sql.lower()
