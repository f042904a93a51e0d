"""Row-level undo: planned without hindering anybody, or carried out in one transaction that is verified in the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import psycopg
from psycopg import sql

from squizzle.backups.change_log.changes import refuse_gap
from squizzle.backups.change_log.reading import NEEDS, coverage, require_table
from squizzle.backups.change_log.records import LoggedTable, TableState
from squizzle.backups.change_log.trust import refuse_stranger
from squizzle.errors import CouldNotVerifyError, DatabaseState, InvalidInputError, RefusedError
from squizzle.migrations.history import read_history
from squizzle.migrations.records import Timeouts
from squizzle.migrations.session import exclusive, prepare_session, set_lock_timeout
from squizzle.migrations.tries import LockTries
from squizzle.migrations.watch import watching
from squizzle.postgres.access import Connection
from squizzle.postgres.identity import Target, check_identity, read_identity
from squizzle.postgres.translation import is_connection_loss, translate_error, translated
from squizzle.recovery.undo.judging import judge
from squizzle.recovery.undo.records import UndoReport, UndoRequest
from squizzle.recovery.undo.reporting import read_report
from squizzle.recovery.undo.shapes import Group, read_group
from squizzle.recovery.undo.staging import stage
from squizzle.recovery.undo.writing import carry_out

DEFAULT_LIMIT = 20
_LOOK = "look with --dry-run: when nothing is left to undo, it is done; else run the same again"
_NEEDS = f"{NEEDS}; ownership of the tables, and TEMPORARY on the database"


def plan_undo(
    connection: Connection, target: Target, request: UndoRequest, *, limit: int = DEFAULT_LIMIT
) -> UndoReport:
    """What undoing would do, row by row. Nothing is changed, and nobody is held up: it reads under one snapshot.

    Args:
        connection: A session in the database, in autocommit mode, of the owner of the log; not a read-only one,
            for it makes temporary tables (and rolls them back).
        target: Who the caller means.
        request: What is to be undone.
        limit: So many rows of each table, and so many conflicts, are listed.

    Raises:
        IdentityMismatchError: Another database than was meant.
        InvalidInputError: No such table, or it is not logged.
        RefusedError: A table cannot be undone, and why.
        CouldNotVerifyError: The log does not reach back that far, or has a gap.
        DatabaseError: As the server says.
    """
    check_identity(read_identity(connection), target.expected, database=target.database)
    prepare_session(connection, schema=target.schema, timeouts=Timeouts())
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            group = _prepare(connection, request)
            return read_report(connection, group, limit=limit, dry_run=True)
    except psycopg.Error as exc:
        raise translate_error(exc, doing=f"plan to {_doing(request)}", needs=_NEEDS) from exc


def undo_changes(
    connection: Connection,
    target: Target,
    request: UndoRequest,
    *,
    on_wait: Callable[[str], None],
    digest: str | None = None,
    limit: int = DEFAULT_LIMIT,
    timeouts: Timeouts | None = None,
) -> UndoReport:
    """Undo changes in one transaction: all of it or nothing, whatever kills whom. Rows in conflict stay as they are.

    Holds the migration lock, and EXCLUSIVE on the tables until the end: readers go on, writers wait. The tables are
    asked for in short tries, so nobody queues behind us. Before COMMIT every row is compared with what was promised.
    The change log keeps what the undo does, so it can be undone itself: by the number of its transaction.

    Args:
        connection: A session in the database, in autocommit mode, of the owner of the log and the tables.
        target: Who the caller means.
        request: What is to be undone.
        on_wait: Told about every try whose locks were not granted.
        digest: Of the plan that was looked at; refused when it would be another one now. None for whatever it is.
        limit: As for `plan_undo`.
        timeouts: How long and how often to try; None for the house's.

    Raises:
        RecoveryError: The outcome was not as promised, and was rolled back.
        LockTimeoutError: The tables, or the migration lock, were not to be had; nothing was changed.
        RefusedError: As for `plan_undo`, or the plan is not the one that was looked at; nothing was changed.
        IdentityMismatchError, InvalidInputError, CouldNotVerifyError: As for `plan_undo`; nothing was changed.
        DatabaseError: As the server says; nothing was changed, but `database_state` is unknown when the connection
            broke during COMMIT.
    """
    timeouts = timeouts or Timeouts()
    reports: list[UndoReport] = []
    with translated(_doing(request), hint=_LOOK), exclusive(connection, target):
        prepare_session(connection, schema=target.schema, timeouts=timeouts)
        with watching(connection, on_wait) as watch:

            def attempt() -> None:
                if watch:
                    watch.statement_begins()
                try:
                    reports.append(_undo(connection, request, digest, limit, timeouts))
                finally:
                    if watch:
                        watch.statement_ended()

            tries = LockTries(
                connection,
                timeouts,
                name=", ".join(".".join(one) for one in request.tables),
                next_step=lambda _state: "nothing was changed; run the same again",
                watch=watch,
                on_wait=on_wait,
            )
            tries.until_granted(attempt, state=DatabaseState.UNTOUCHED)
    return reports[-1]


def since_version(connection: Connection, schema: str, version: str) -> datetime:
    """When a version that is applied now began to be applied: undoing since then undoes its own changes, too.

    Raises:
        InvalidInputError: It is not applied.
        DatabaseError: No right to read the history.
    """
    row = read_history(connection, schema).applied().get(version)
    if row is None:
        raise InvalidInputError(
            f"version {version} is not applied in {schema}", hint="`squizzle status` lists what is, or say --since TIME"
        )
    return row.applied_at


def _undo(
    connection: Connection, request: UndoRequest, digest: str | None, limit: int, timeouts: Timeouts
) -> UndoReport:
    for schema, name in request.tables:
        require_table(connection, schema, name)
    committing = False
    try:
        with connection.transaction():
            set_lock_timeout(connection, timeouts.lock, local=True)
            places = sql.SQL(", ").join(sql.Identifier(*one) for one in sorted(request.tables))
            # Readers go on. Whoever changed these tables has ended, so the log is complete.
            connection.execute(sql.SQL("LOCK TABLE {} IN EXCLUSIVE MODE").format(places))
            set_lock_timeout(connection, timeouts.rows, local=True)
            path = connection.execute("SHOW search_path").fetchone()
            group = _prepare(connection, request)
            report = read_report(connection, group, limit=limit, dry_run=False)
            if digest is not None and digest != report.digest:
                raise RefusedError(
                    f"what would be undone now is not what was looked at: {report.changes} rows, {report.digest}",
                    hint="look at it again with --dry-run; nothing was changed",
                )
            if not report.changes:
                return report
            raised = carry_out(connection, group, path=path[0] if path else "")
            row = connection.execute("SELECT pg_current_xact_id()::text::bigint").fetchone()
            committing = True
        return replace(report, xid=row[0] if row else None, raised_sequences=raised)
    except psycopg.Error as exc:
        lost = committing and is_connection_loss(exc)
        state = DatabaseState.UNKNOWN if lost else DatabaseState.UNTOUCHED
        error = translate_error(exc, doing=_doing(request), database_state=state, needs=_NEEDS)
        if lost:
            error.hint = _LOOK
        elif not error.hint:
            error.hint = (
                "nothing was changed; name the tables that this constraint ties together, or fewer transactions"
            )
        raise error from exc


def _doing(request: UndoRequest) -> str:
    return f"undo changes of {', '.join('.'.join(one) for one in request.tables)}"


def _prepare(connection: Connection, request: UndoRequest) -> Group:
    """Refuse what cannot be undone, and stage the rest; inside a transaction."""
    refuse_stranger(connection)
    entries = coverage(connection)
    logged: dict[int, LoggedTable] = {}
    for schema, name in dict.fromkeys(request.tables):
        table = require_table(connection, schema, name)
        entry = next((one for one in entries if (one.schema, one.table, one.until) == (schema, name, None)), None)
        if entry is None:
            raise InvalidInputError(
                f"{schema}.{name} is not logged, so nothing is known of its changes",
                hint="`squizzle changelog status` lists what is; a backup beside the database may have the rows",
            )
        # The one entry that is open: what happened between two of them was not logged.
        refuse_gap(connection, [entry], request.since)
        _refuse_unfit(entry, table)
        logged[table.id] = entry
    group = read_group(connection, logged)
    for subject in group.subjects:
        if subject.shape.has_rules:
            raise RefusedError(
                f"{subject.logged.name} has rules that rewrite what is written to it",
                hint="drop them (DROP RULE) for the time of the undo; nothing was changed",
            )
    stage(connection, group, request)
    judge(connection, group)
    return group


def _refuse_unfit(entry: LoggedTable, table: TableState) -> None:
    if entry.gaps:
        raise CouldNotVerifyError(
            f"the log of {entry.name} is not whole: {'; '.join(entry.gaps)}",
            hint=f"`squizzle changelog enable --table {entry.name}` mends triggers; where columns or the key differ,"
            " disable and enable logs later changes anew. For earlier ones restore a backup beside the database",
        )
    if not table.is_ours:
        raise RefusedError(
            f"{entry.name} belongs to {table.owner}, and only its owner may switch its triggers off for the undo",
            hint=f"connect as {table.owner}; nothing was changed",
        )
