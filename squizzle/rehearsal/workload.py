"""How the queries of an application fare before and after a migration, on a copy of its data.

Every statement runs in a transaction that is rolled back. What no rollback takes back stays done on the copy: numbers
that sequences gave out, and whatever a function does elsewhere (`dblink`, a file, a program).
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any, Final

import psycopg

from squizzle.analysis.statements import split_statements
from squizzle.errors import InvalidInputError
from squizzle.health.queries import read_query_stats
from squizzle.health.records import query_words
from squizzle.postgres.access import Connection
from squizzle.postgres.translation import is_connection_loss, translate_error
from squizzle.rehearsal.plan_shape import PlanShape, read_shape

_FIRST_WORDS: Final = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "(", "VALUES", "TABLE", "MERGE"})
_PARAMETER = re.compile(r"\$\d+")
_LITERAL = re.compile(r"(?:[EBXN]|U&)?'|\$(?!\d)|\.?\d")
# What Squizzle itself asks when it compares rows; nobody's application says that.
_OURS = ("squizzle", "hashtextextended(ROW(")
_LOCK_TIMEOUT_MS = 5_000
_PREPARED = "squizzle_query"


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """One statement of an application.

    Attributes:
        sql: Its whole text.
        label: The beginning of it, without values.
        has_parameters: Whether it has `$1` where the application has a value, so that it can be planned, and not run.
        line: Where it stands in its file; 0 when it comes from no file.
    """

    sql: str
    label: str
    has_parameters: bool = False
    line: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class QueryMeasure:
    """What one query took on one state of a database.

    Attributes:
        query: Which.
        shape: Its plan; None when it has none.
        ms: Planning and execution, the median of several runs; None when it was not timed.
        limit_ms: How long it could take at the most.
        is_cut: Whether it was ended because it took longer than that.
        refused: The server's words when it does not run.
        why: Why it was not timed, when it is for another reason: it says nothing about the database.
        indexes: Names of all valid indexes of that database.
    """

    query: Query
    shape: PlanShape | None = None
    ms: float | None = None
    limit_ms: float = 0.0
    is_cut: bool = False
    refused: str = ""
    why: str = ""
    indexes: frozenset[str] = frozenset()


def read_workload(path: Path) -> tuple[Query, ...]:
    """The statements of a file, separated as those of a migration. Nothing is connected.

    Args:
        path: SQL: SELECT, INSERT, UPDATE, DELETE, MERGE, VALUES, TABLE or WITH; `$1` where a value is not known.

    Raises:
        InvalidInputError: It cannot be read, has no statement, or one that cannot be replayed; with the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidInputError(
            f"the workload {path} cannot be read: {exc}", hint="name a file of SQL statements in UTF-8"
        ) from exc
    queries = []
    for statement in split_statements(text, source=str(path)):
        if statement.words[0] not in _FIRST_WORDS:
            raise InvalidInputError(
                f"{path}:{statement.line}: {statement.words[0]} cannot be replayed",
                hint="a workload has SELECT, INSERT, UPDATE, DELETE, MERGE and WITH: what EXPLAIN can plan",
            )
        queries.append(_query(statement.sql, line=statement.line))
    if not queries:
        raise InvalidInputError(f"the workload {path} has no statement", hint="write SQL statements, each with its ;")
    return tuple(queries)


def workload_of(connection: Connection, *, top: int = 20) -> tuple[Query, ...]:
    """The queries that have taken the most time of this database, by pg_stat_statements. Nothing is changed.

    They have `$1` in the place of values, so their plans are compared, and not their times.

    Args:
        connection: A session in the database that the application works in.
        top: How many at the most.

    Raises:
        CouldNotVerifyError: The server does not count them; the hint has the commands.
        DatabaseError: The session was lost.
    """
    stats = read_query_stats(connection, whole_texts=True)
    texts = [one.query for one in sorted(stats.queries.values(), key=lambda one: -one.total_ms)]
    found: list[Query] = []
    for text in texts:
        if len(found) == top:
            break
        if any(words in text for words in _OURS):
            continue
        try:
            statements = split_statements(text, source="pg_stat_statements")
        except InvalidInputError:
            continue  # a text that was cut, or a command that is no query
        if len(statements) == 1 and statements[0].words[0] in _FIRST_WORDS:
            found.append(_query(statements[0].sql))
    return tuple(found)


def _query(text: str, *, line: int = 0) -> Query:
    from squizzle.analysis.scanner import scan  # noqa: PLC0415 - costs 40 ms, see `split_statements`

    encoded, place, parts, has_parameters = text.encode(), 0, [], False
    for token in scan(text):
        has_parameters = has_parameters or bool(_PARAMETER.fullmatch(token.word))
        if not token.is_name and _LITERAL.match(token.word):
            parts += [encoded[place : token.start].decode(), "…"]
            place = token.end
    parts.append(encoded[place:].decode())
    return Query(sql=text, label=query_words("".join(parts)), has_parameters=has_parameters, line=line)


def measure_workload(
    connection: Connection, queries: Sequence[Query], *, runs: int = 5, budget: timedelta
) -> tuple[QueryMeasure, ...]:
    """Plan and run every query, each time in a transaction that is rolled back.

    Tables are to be analyzed before, or the plans of two states cannot be compared. Settings of the session count:
    `search_path`, the role.

    Args:
        connection: A session outside any transaction, in a copy.
        queries: What is measured.
        runs: How often each is run.
        budget: For all of them together; a query gets its share of what is left.

    Raises:
        DatabaseError: The session was lost; the copy is as before, but for sequences.
    """
    deadline = time.monotonic() + budget.total_seconds()
    measures: list[QueryMeasure] = []
    try:
        indexes = _valid_indexes(connection) if queries else frozenset[str]()
        for number, query in enumerate(queries):
            share_ms = (deadline - time.monotonic()) * 1000 / (len(queries) - number)
            measures.append(_Measuring(connection, query, share_ms, indexes).measure(runs))
    except psycopg.Error as exc:
        raise translate_error(exc, doing="measure the workload") from exc
    return tuple(measures)


def _valid_indexes(connection: Connection) -> frozenset[str]:
    rows = connection.execute(
        "SELECT c.relname FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid"
        " WHERE i.indisvalid"
    )
    return frozenset(name for (name,) in rows)


# Of these the database is not to blame: resources, locks, an operator (manual, "PostgreSQL Error Codes").
_NOT_ABOUT_THE_QUERY = ("53", "55P03", "40", "57", "58", "XX")
_CANCELED = "57014"
_PLAN = "EXPLAIN (VERBOSE, FORMAT JSON) "
_RUN = "EXPLAIN (ANALYZE, TIMING OFF, BUFFERS, FORMAT JSON) "


@dataclass(frozen=True, slots=True)
class _Measuring:
    """One query, within its share of the time."""

    connection: Connection
    query: Query
    share_ms: float
    indexes: frozenset[str]

    def measure(self, runs: int) -> QueryMeasure:
        if self.share_ms < 1:
            return self._measured(why="no time was left for it")
        shape = None
        try:
            shape = self._generic_plan() if self.query.has_parameters else self._plan()
            if self.query.has_parameters:
                return self._measured(shape, why="its values are not known")
            return self._measured(shape, ms=self._run(runs))
        except psycopg.Error as exc:
            return self._failed(shape, exc)

    def _measured(self, shape: PlanShape | None = None, **found: Any) -> QueryMeasure:
        return QueryMeasure(query=self.query, shape=shape, limit_ms=self.share_ms, indexes=self.indexes, **found)

    def _failed(self, shape: PlanShape | None, exc: psycopg.Error) -> QueryMeasure:
        if is_connection_loss(exc):
            raise exc
        # Not the detail, which has values of rows.
        words = exc.diag.message_primary or type(exc).__name__
        state = exc.sqlstate or ""
        if state == _CANCELED:
            return self._measured(shape, is_cut=True)
        if state.startswith(_NOT_ABOUT_THE_QUERY):
            return self._measured(shape, why=words)
        return self._measured(shape, refused=words)

    @contextmanager
    def _undone(self, limit_ms: float) -> Iterator[None]:
        with self.connection.transaction(force_rollback=True):
            self.connection.execute(
                "SELECT set_config('statement_timeout', %s, true), set_config('lock_timeout', %s, true)",
                (f"{max(1, int(limit_ms))}ms", f"{_LOCK_TIMEOUT_MS}ms"),
            )
            # What would be checked at COMMIT belongs to the time.
            self.connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
            yield

    def _explain(self, text: str) -> tuple[Mapping[str, Any], ...]:
        """What EXPLAIN says of each plan: a rule makes several of one statement, or none."""
        # Binary results need the extended protocol, which takes one statement and no second one behind it.
        with self.connection.cursor(binary=True) as cursor:
            row = cursor.execute(text.encode()).fetchone()
        return tuple(one for one in (row[0] if row else ()) if "Plan" in one)

    def _plan(self) -> PlanShape:
        with self._undone(self.share_ms):
            return _shape(self._explain(_PLAN + self.query.sql))

    def _generic_plan(self) -> PlanShape:
        """The plan for any values (manual, "PREPARE"): what EXPLAIN (GENERIC_PLAN) shows from version 16 on."""
        try:
            with self._undone(self.share_ms):
                self.connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
                with self.connection.cursor(binary=True) as cursor:
                    cursor.execute(f"PREPARE {_PREPARED} AS {self.query.sql}".encode())
                return _shape(self._explain(f"{_PLAN}EXECUTE {_PREPARED}{self._nulls()}"))
        finally:
            # It belongs to the session, whatever became of the transaction.
            if not self.connection.closed and self._parameters() is not None:
                self.connection.execute(f"DEALLOCATE {_PREPARED}")

    def _parameters(self) -> int | None:
        """How many parameters the prepared statement has; None when there is none."""
        row = self.connection.execute(
            "SELECT cardinality(parameter_types) FROM pg_catalog.pg_prepared_statements WHERE name = %s", (_PREPARED,)
        ).fetchone()
        return int(row[0]) if row else None

    def _nulls(self) -> str:
        count = self._parameters()
        return f"({', '.join(['NULL'] * count)})" if count else ""

    def _run(self, runs: int) -> float:
        """Milliseconds of one run: the median, of fewer runs where the time is up."""
        times: list[float] = []
        used = 0.0
        while len(times) < runs and (not times or used + times[-1] < self.share_ms):
            started = time.monotonic()
            with self._undone(self.share_ms):
                explained = self._explain(_RUN + self.query.sql)
            times.append(sum(float(one["Planning Time"]) + float(one["Execution Time"]) for one in explained))
            used += (time.monotonic() - started) * 1000
        return median(times)


def _shape(explained: Sequence[Mapping[str, Any]]) -> PlanShape:
    plans = [one["Plan"] for one in explained]
    if len(plans) < 2:  # noqa: PLR2004 - the usual one, or none
        return read_shape(plans[0]) if plans else PlanShape(text="nothing", cost=0.0)
    cost = sum(float(one.get("Total Cost", 0.0)) for one in plans)
    return read_shape({"Node Type": "Rules", "Total Cost": cost, "Plans": plans})
