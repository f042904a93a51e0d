"""Queries that have become slower than they were when all was well, told by pg_stat_statements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from squizzle.errors import CouldNotVerifyError
from squizzle.health.records import query_words
from squizzle.later_keys import known_keys
from squizzle.postgres.access import Connection
from squizzle.postgres.own_scripts import OwnTables
from squizzle.postgres.own_tables import ensure_tables, find_tables
from squizzle.postgres.sql_files import load_sql
from squizzle.postgres.translation import server_words, translate_error

BASELINE_TABLES = OwnTables(package="squizzle.health", script="query_baseline")
_KEPT = 10
_NEEDS = "CREATE on the database; or where squizzle.query_baseline is there already, SELECT, INSERT and DELETE on it"


@dataclass(frozen=True, kw_only=True, slots=True)
class QueryCost:
    """What one kind of query has cost since counting began.

    Attributes:
        calls: How often it ran.
        total_ms: How long in all.
        query: Its text, with numbers for its values.
    """

    calls: int
    total_ms: float
    query: str

    @property
    def mean_ms(self) -> float:
        """How long one took."""
        return self.total_ms / max(1, self.calls)


@dataclass(frozen=True, kw_only=True, slots=True)
class QueryStats:
    """What the queries of a database have cost.

    Attributes:
        at: When that was read.
        counted_since: Since when the server counts.
        server_version: Its major version; another one numbers queries differently.
        queries: By the server's number of the query.
        hidden: How many kinds of query we may not see.
        label: What a saved one is called; empty for one that was just read.
    """

    at: datetime
    counted_since: datetime
    server_version: int
    queries: Mapping[int, QueryCost]
    hidden: int = 0
    label: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Regression:
    """A kind of query that costs more than it did.

    Attributes:
        number: The server's number of the query.
        query: Its text, with numbers for its values.
        calls: How often it ran since the baseline.
        before_ms: How long one took until the baseline; None for a query that was not there.
        now_ms: How long one took since.
        added_ms: How much more time it took in all than it would have taken before.
    """

    number: int
    query: str
    calls: int
    before_ms: float | None
    now_ms: float
    added_ms: float


def find_regressions(
    baseline: QueryStats, now: QueryStats, *, factor: float = 2.0, calls: int = 10, added_ms: float = 100.0
) -> tuple[Regression, ...]:
    """The queries that cost more since the baseline than before it, the most expensive change first. Pure.

    Args:
        baseline: What queries had cost when all was well.
        now: What they have cost by now; counters that began anew since the baseline are taken as they are.
        factor: One takes at least so many times as long.
        calls: It ran at least so often since; fewer say little.
        added_ms: It took at least so much more time in all.

    Raises:
        CouldNotVerifyError: The baseline is of another major version.
    """
    if baseline.server_version != now.server_version:
        raise CouldNotVerifyError(
            f"the baseline is of PostgreSQL {baseline.server_version}, the server is {now.server_version}, and each"
            " numbers queries in its own way",
            hint="`squizzle queries --save-baseline` when all is well",
        )
    begun_anew = now.counted_since > baseline.counted_since
    found = []
    for number, cost in now.queries.items():
        was = baseline.queries.get(number)
        since = cost
        if was is not None and not begun_anew and cost.calls >= was.calls:
            since = QueryCost(calls=cost.calls - was.calls, total_ms=cost.total_ms - was.total_ms, query=cost.query)
        before_ms = was.mean_ms if was else None
        added = since.total_ms - since.calls * (before_ms or 0.0)
        if since.calls < calls or added < added_ms or since.mean_ms < factor * (before_ms or 0.0):
            continue
        found.append(
            Regression(
                number=number,
                query=cost.query,
                calls=since.calls,
                before_ms=before_ms,
                now_ms=since.mean_ms,
                added_ms=added,
            )
        )
    return tuple(sorted(found, key=lambda one: -one.added_ms))


def read_query_stats(connection: Connection, *, whole_texts: bool = False) -> QueryStats:
    """What the queries of this database have cost since the server counts. Nothing is changed.

    Args:
        connection: A session in it.
        whole_texts: The queries as they are, to run them again; not for people, for a text may hold a password.

    Raises:
        CouldNotVerifyError: The server does not count them; the hint has the commands.
        DatabaseError: The session was lost.
    """
    try:
        schema = _extension_schema(connection)
        view = sql.Identifier(schema, "pg_stat_statements")
        rows = connection.execute(sql.SQL(load_sql("squizzle.health", "query_stats")).format(view=view)).fetchall()
        info = sql.SQL("SELECT stats_reset, clock_timestamp() FROM {}").format(
            sql.Identifier(schema, "pg_stat_statements_info")
        )
        counted_since, at = connection.execute(info).fetchone() or (None, None)
    except psycopg.errors.ObjectNotInPrerequisiteState as exc:
        raise CouldNotVerifyError(f"queries are not counted: {server_words(exc)}", hint=_how(connection)) from exc
    except psycopg.Error as exc:
        raise translate_error(exc, doing="read pg_stat_statements") from exc
    if at is None or counted_since is None:
        raise CouldNotVerifyError("pg_stat_statements does not say since when it counts", hint=_how(connection))
    queries = {
        number: QueryCost(calls=calls, total_ms=total, query=(query or "") if whole_texts else query_words(query or ""))
        for number, _toplevel, calls, total, _rows, query in rows
        if number is not None
    }
    return QueryStats(
        at=at,
        counted_since=counted_since,
        server_version=connection.info.server_version // 10000,
        queries=queries,
        hidden=sum(row[2] for row in rows if row[0] is None),
    )


def _extension_schema(connection: Connection) -> str:
    row = connection.execute(
        "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace"
        " WHERE e.extname = 'pg_stat_statements'"
    ).fetchone()
    if row is None:
        raise CouldNotVerifyError(
            "queries are not counted: the extension pg_stat_statements is not in this database", hint=_how(connection)
        )
    return str(row[0])


def _how(connection: Connection) -> str:
    """The commands that make the server count queries."""
    row = connection.execute("SELECT current_setting('shared_preload_libraries', true)").fetchone()
    loaded = [one.strip() for one in (row[0] if row and row[0] else "").split(",") if one.strip()]
    create = "CREATE EXTENSION IF NOT EXISTS pg_stat_statements"
    if "pg_stat_statements" in loaded:
        return f"run {create} in this database"
    wanted = ", ".join([*loaded, "pg_stat_statements"])
    return f"ALTER SYSTEM SET shared_preload_libraries = {wanted}; restart the server; then {create} in this database"


def save_baseline(connection: Connection, stats: QueryStats, *, label: str) -> None:
    """Keep what queries cost now as what they cost when all is well; the newest ten are kept.

    Raises:
        DatabaseError: It cannot be written; nothing was changed.
    """
    queries = {
        str(number): {"calls": one.calls, "total_ms": one.total_ms, "query": one.query}
        for number, one in stats.queries.items()
    }
    try:
        with connection.transaction():
            ensure_tables(connection, BASELINE_TABLES)
            connection.execute(
                "INSERT INTO squizzle.query_baseline (taken_at, label, counted_since, server_version, queries)"
                " VALUES (%s, %s, %s, %s, %s)",
                (stats.at, label, stats.counted_since, stats.server_version, Jsonb(queries)),
            )
            connection.execute(
                "DELETE FROM squizzle.query_baseline WHERE id NOT IN"
                " (SELECT id FROM squizzle.query_baseline ORDER BY id DESC LIMIT %s)",
                (_KEPT,),
            )
    except psycopg.Error as exc:
        raise translate_error(exc, doing="save the baseline of queries", needs=_NEEDS) from exc


def read_baseline(connection: Connection) -> QueryStats:
    """The newest baseline. Nothing is changed.

    Raises:
        CouldNotVerifyError: None was ever saved.
        DatabaseError: It may not be read, or the session was lost.
    """
    try:
        row = None
        if not _has_no_baselines(connection):
            row = connection.execute(
                "SELECT taken_at, label, counted_since, server_version, queries FROM squizzle.query_baseline"
                " ORDER BY id DESC LIMIT 1"
            ).fetchone()
    except psycopg.Error as exc:
        raise translate_error(exc, doing="read the baseline of queries", needs=_NEEDS) from exc
    if row is None:
        raise CouldNotVerifyError(
            "there is no baseline of queries to compare with",
            hint="`squizzle queries --save-baseline`, or the deployment note-queries, when all is well",
        )
    at, label, counted_since, version, queries = row
    return QueryStats(
        at=at,
        label=label,
        counted_since=counted_since,
        server_version=version,
        queries={int(number): QueryCost(**known_keys(one, QueryCost)) for number, one in queries.items()},
    )


def _has_no_baselines(connection: Connection) -> bool:
    return find_tables(connection, BASELINE_TABLES) is None
