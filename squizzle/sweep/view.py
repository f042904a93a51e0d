"""The view `squizzle.health_check`, which monitoring reads: made, and brought up to date, by us."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from squizzle.errors import RefusedError, SquizzleError
from squizzle.migrations.history import HISTORY_TABLE, ensure_history, history_table
from squizzle.migrations.session import exclusive, set_lock_timeout
from squizzle.postgres.access import Connection
from squizzle.postgres.identity import ExpectedIdentity, Target, check_identity, read_identity
from squizzle.postgres.sql_files import load_sql
from squizzle.postgres.translation import translate_error
from squizzle.rollout.bounded import each_bounded
from squizzle.rollout.deadlines import Deadlines
from squizzle.rollout.reaching import Reach
from squizzle.rollout.records import FleetTarget
from squizzle.settings.fleets import FleetSettings

VIEW_VERSION = 1
"""Grows with every change of the view."""

VIEW = "squizzle.health_check"
_COMMENT = "Squizzle health_check, version {}: made by `squizzle health --install`, which brings it up to date, too."
_OURS = re.compile(r"Squizzle health_check, version (\d+):")
# Replacing a view waits for whoever reads it, and whoever reads it next waits behind that.
_LOCK = timedelta(seconds=2)


class ViewState(StrEnum):
    """What became of the view in one database."""

    MADE = "made"
    RENEWED = "brought up to date"
    CURRENT = "as it should be"
    NEWER = "of a newer version of Squizzle, and left alone"
    FAILED = "not there"


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewReport:
    """What became of the view in one database.

    Attributes:
        server: Where the database is.
        database: Its name.
        state: What became of it.
        detail: Why it is not there; else which histories it reads.
    """

    server: str
    database: str
    state: ViewState
    detail: str = ""


def install_view(connection: Connection, target: Target, schemas: Collection[str]) -> tuple[ViewState, tuple[str, ...]]:
    """Make `squizzle.health_check`, or bring it up to date; where a history is missing it is made, too.

    Needs no superuser. Histories that the view reads already are kept. A standby has the view of its primary.

    Args:
        connection: A session in the database, in autocommit.
        target: Who the caller means.
        schemas: Where histories are; at least one.

    Returns:
        What became of it, and the schemas whose histories it reads.

    Raises:
        IdentityMismatchError: Another database than was meant; nothing was changed.
        RefusedError: Something of that name is not ours, or the session cannot change anything; nothing was changed.
        BeingMigratedError: Somebody migrates the database now; nothing was changed.
        LockTimeoutError: Somebody reads the view for long; it is as it was.
        DatabaseError: No right to make it, no such schema, or the session was lost; the view is as it was.
    """
    if connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,):
        check_identity(read_identity(connection), target.expected, database=target.database)
        done = _as_found(connection, set(schemas))
        if done is not None:
            return done
    with exclusive(connection, target):
        for schema in schemas:
            ensure_history(connection, schema)
        needs = f"CREATE on the database {target.database}, or on the schema squizzle; ownership of {VIEW}"
        try:
            with connection.transaction():
                set_lock_timeout(connection, _LOCK, local=True)
                return _install(connection, set(schemas))
        except psycopg.errors.InvalidTableDefinition as exc:
            raise RefusedError(f"{VIEW} was changed by somebody: {exc.diag.message_primary}", hint=_DROP) from exc
        except psycopg.Error as exc:
            raise translate_error(exc, doing=f"make {VIEW}", needs=needs) from exc


_DROP = f"look at it, `DROP VIEW {VIEW}` if nobody needs it, and install again"


def _install(connection: Connection, schemas: set[str]) -> tuple[ViewState, tuple[str, ...]]:
    done = _as_found(connection, schemas)
    if done is not None:
        return done
    found = _found(connection)
    wanted = tuple(sorted(schemas | set(found.schemas if found else ())))
    connection.execute("CREATE SCHEMA IF NOT EXISTS squizzle")
    connection.execute(sql.SQL(load_sql("squizzle.sweep", "health_check")).format(history=_histories(wanted)))
    comment = sql.SQL("COMMENT ON VIEW squizzle.health_check IS {}")
    connection.execute(comment.format(sql.Literal(_COMMENT.format(VIEW_VERSION))))
    return (ViewState.MADE if found is None else ViewState.RENEWED), wanted


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """What has the name of our view."""

    is_view: bool
    comment: str
    schemas: list[str]


def _found(connection: Connection) -> _Found | None:
    with connection.cursor(row_factory=class_row(_Found)) as cursor:
        return cursor.execute(load_sql("squizzle.sweep", "health_check_found"), {"history": HISTORY_TABLE}).fetchone()


def _as_found(connection: Connection, schemas: set[str]) -> tuple[ViewState, tuple[str, ...]] | None:
    """Where nothing is to be done; None where something is."""
    found = _found(connection)
    if found is None:
        return None
    mark = _OURS.match(found.comment)
    if mark is None or not found.is_view:
        raise RefusedError(f"{VIEW} is there and is not ours; it was left as it is", hint=_DROP)
    if int(mark[1]) > VIEW_VERSION:
        return ViewState.NEWER, tuple(found.schemas)
    if int(mark[1]) == VIEW_VERSION and schemas <= set(found.schemas):
        return ViewState.CURRENT, tuple(found.schemas)
    return None


def _histories(schemas: tuple[str, ...]) -> sql.Composable:
    """One history, or the rows of all: a database may hold many tenants, each with a schema of its own."""
    if len(schemas) == 1:
        return history_table(schemas[0])
    each = [sql.SQL("SELECT applied_at, success FROM {}").format(history_table(one)) for one in schemas]
    return sql.SQL("({})").format(sql.SQL(" UNION ALL ").join(each))


def install_everywhere(
    targets: Collection[FleetTarget], expected: ExpectedIdentity, settings: FleetSettings, reach: Reach
) -> tuple[ViewReport, ...]:
    """Make the view in every database of a fleet; whatever goes wrong in one is in its report.

    Args:
        targets: Those of one database share its view.
        expected: Who every target should be.
        settings: How many at the same time, and how long each may take.
        reach: How servers are reached, with sessions that may write.
    """
    together: dict[tuple[str, str], set[str]] = {}
    for one in targets:
        together.setdefault((one.server, one.database), set()).add(one.schema)
    with Deadlines() as deadlines:

        def work(place: tuple[str, str]) -> ViewReport:
            return _at(place, together, expected, settings, reach, deadlines)

        found = each_bounded(
            together,
            work,
            place=lambda one: one[0],
            concurrency=settings.concurrency,
            per_place=settings.per_server,
        )
        return tuple(sorted((report for _, report in found), key=lambda one: (one.server, one.database)))


def _at(
    place: tuple[str, str],
    together: Mapping[tuple[str, str], set[str]],
    expected: ExpectedIdentity,
    settings: FleetSettings,
    reach: Reach,
    deadlines: Deadlines,
) -> ViewReport:
    server, database = place
    schemas = sorted(together[place])

    def failed(why: str) -> ViewReport:
        return ViewReport(server=server, database=database, state=ViewState.FAILED, detail=why)

    if why := reach.why_down(server):
        return failed(f"not tried: {why}")
    deadline_s = settings.deadline.total_seconds()
    try:
        connection = reach.connect(server, database)
    except SquizzleError as exc:
        return failed(exc.message)
    try:
        with deadlines.limit(connection, deadline_s) as limit:
            try:
                target = Target(database=database, schema=schemas[0], expected=expected)
                state, read = install_view(connection, target, schemas)
            except SquizzleError as exc:
                if limit.passed:
                    return failed(f"no answer within {deadline_s:g} s")
                return failed(f"{exc.message} ({exc.hint})" if exc.hint else exc.message)
    finally:
        connection.close()
    return ViewReport(server=server, database=database, state=state, detail=f"reads {', '.join(read)}")
