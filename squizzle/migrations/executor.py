"""The one executor: runs a plan, one script after the other, and writes down what happened."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import psycopg
from psycopg.pq import TransactionStatus

from squizzle.analysis.records import Statement
from squizzle.errors import (
    DatabaseError,
    DatabaseState,
    LockTimeoutError,
    MigrationFailedError,
    RefusedError,
    RollbackFailedError,
    SquizzleError,
)
from squizzle.migrations import history
from squizzle.migrations.records import Direction, Outcome, Plan, PlannedMigration
from squizzle.migrations.session import holds_lock, prepare_session
from squizzle.postgres.access import Connection
from squizzle.postgres.translation import is_connection_loss, server_words, translate_error
from squizzle.proof.digests import digest_schema

_EXCERPT = 120


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What an executor run did, and the schema it left."""

    outcomes: tuple[Outcome, ...]
    schema_digest: str


def execute_plan(
    connection: Connection,
    plan: Plan,
    *,
    environment: str | None = None,
    on_done: Callable[[Outcome], None] = lambda _outcome: None,
) -> Report:
    """Run every script of the plan, each in its own transaction together with its history row.

    A script with a statement that PostgreSQL refuses inside a transaction runs statement by statement instead; the
    history counts the finished ones, so that the next run goes on behind them.

    Args:
        connection: The session of `exclusive_session`, with identity and history in place.
        plan: What to run.
        environment: For the history.
        on_done: Called after each version.

    Raises:
        RefusedError: The schema is not the one that the plan was made for; nothing was changed.
        MigrationFailedError: A statement or a verify script failed. A transactional script left nothing behind,
            another one the statements before; versions before it stay applied.
        RollbackFailedError: The same for a down script.
        LockTimeoutError: A lock was not granted in time; as for a failed statement.
        ConnectionFailedError: The session was lost; the message says whether a commit may have got through.
    """
    _refuse_stale_plan(connection, plan)
    outcomes = []
    for step in plan.steps:
        outcome = _run_step(connection, plan, step, environment)
        outcomes.append(outcome)
        on_done(outcome)
        with _after_commits(outcomes):
            _refuse_without_lock(connection, plan)
    with _after_commits(outcomes):
        return Report(outcomes=tuple(outcomes), schema_digest=_record_schema(connection, plan))


def _refuse_stale_plan(connection: Connection, plan: Plan) -> None:
    found = digest_schema(connection, schema=plan.schema).logical
    if found != plan.schema_digest:
        raise RefusedError(
            f"the schema of {plan.database} changed since the plan was made"
            f" (was {plan.schema_digest[:12]}, is {found[:12]})",
            hint="plan again, and look at the new plan",
        )


@contextmanager
def _after_commits(outcomes: Sequence[Outcome]) -> Iterator[None]:
    """What fails between two scripts, or after the last one, does not undo those that are committed."""
    state = DatabaseState.CHANGED if outcomes else DatabaseState.UNTOUCHED
    try:
        yield
    except DatabaseError as exc:
        exc.database_state = state
        exc.hint = exc.hint or "what is committed stays; look at `squizzle status`, then run the same again"
        raise
    except psycopg.Error as exc:
        raise translate_error(exc, doing="end the run", database_state=state) from exc


def _record_schema(connection: Connection, plan: Plan) -> str:
    """Keep the digest that the run ended with, so that later drift can be told."""
    prepare_session(connection, schema=plan.schema, timeouts=plan.timeouts)
    digest = digest_schema(connection, schema=plan.schema).logical
    history.record_digest(connection, plan.schema, digest)
    return digest


def _run_step(connection: Connection, plan: Plan, step: PlannedMigration, environment: str | None) -> Outcome:
    started = time.monotonic()
    row_id = 0
    try:
        prepare_session(connection, schema=plan.schema, timeouts=plan.timeouts)
        row_id = history.begin_row(connection, plan.schema, step, environment)
        run = _run_in_transaction if step.transactional else _run_alone
        outcome = run(connection, plan, step, row_id, started)
    except (SquizzleError, psycopg.Error) as exc:
        error = exc if isinstance(exc, SquizzleError) else _unexpected(exc, step)
        _close_failed(connection, plan, row_id, error, started)
        raise error from exc.__cause__ or exc
    return outcome


def _run_in_transaction(
    connection: Connection, plan: Plan, step: PlannedMigration, row_id: int, started: float
) -> Outcome:
    committing = False
    try:
        with connection.transaction():
            for statement in step.statements:
                _run_inside(connection, step, statement)
            _verify(connection, step, DatabaseState.UNTOUCHED)
            outcome = _outcome(step, started)
            # A script may leave another role behind, which may not write our history.
            connection.execute("SET SESSION AUTHORIZATION DEFAULT")
            history.finish_row(connection, plan.schema, row_id, outcome)
            committing = True
    except psycopg.Error as exc:
        # What fails at COMMIT (deferred constraints) is rolled back; a commit whose answer was lost may have worked.
        lost = committing and is_connection_loss(exc)
        raise _failed(exc, step, None, DatabaseState.UNKNOWN if lost else DatabaseState.UNTOUCHED) from exc
    return outcome


def _run_inside(connection: Connection, step: PlannedMigration, statement: Statement) -> None:
    """Run a statement in our transaction, and notice when the transaction is over afterwards.

    No script gets here with a COMMIT that our own splitting can see; one that only the server sees must not be
    reported as "nothing was kept".
    """
    problem: SquizzleError | None = None
    try:
        _run_statement(connection, step, statement, DatabaseState.UNTOUCHED)
    except SquizzleError as exc:
        problem = exc
    if connection.info.transaction_status is TransactionStatus.IDLE:
        kind = RollbackFailedError if step.direction is Direction.ROLLBACK else MigrationFailedError
        raise kind(
            f"{step.source}:{statement.line} ended the transaction that the script runs in: {_excerpt(statement)}",
            hint="what it committed stays; compare the database with the script, and take the COMMIT out of it",
            database_state=DatabaseState.CHANGED,
        ) from problem
    if problem is not None:
        raise problem


def _run_alone(connection: Connection, plan: Plan, step: PlannedMigration, row_id: int, started: float) -> Outcome:
    state = DatabaseState.UNTOUCHED
    for statement in step.statements:
        _run_statement(connection, step, statement, _after_failure(statement, state))
        history.count_statement(connection, plan.schema, row_id)
        state = DatabaseState.CHANGED
    _verify(connection, step, state)
    outcome = _outcome(step, started)
    connection.execute("SET SESSION AUTHORIZATION DEFAULT")
    history.finish_row(connection, plan.schema, row_id, outcome)
    return outcome


def _after_failure(statement: Statement, before: DatabaseState) -> DatabaseState:
    """A concurrent index build that fails leaves an invalid index behind, so it changes even when it fails."""
    return before if statement.transactional else DatabaseState.CHANGED


def _outcome(step: PlannedMigration, started: float) -> Outcome:
    duration = timedelta(seconds=time.monotonic() - started)
    return Outcome(version=step.migration.version, direction=step.direction, duration=duration)


def _run_statement(
    connection: Connection, step: PlannedMigration, statement: Statement, on_failure: DatabaseState
) -> None:
    try:
        # As bytes and without parameters: the text reaches the server as it is, per cent signs included.
        connection.execute(statement.sql.encode())
    except psycopg.Error as exc:
        raise _failed(exc, step, statement, on_failure) from exc


def _verify(connection: Connection, step: PlannedMigration, on_failure: DatabaseState) -> None:
    for statement in step.verify:
        source = f"{step.migration.labels.verify}:{statement.line}"
        try:
            problem = check_verification(connection, statement)
        except psycopg.Error as exc:
            problem = server_words(exc)
        if problem:
            raise MigrationFailedError(
                f"version {step.migration.version} does not verify: {source}: {problem}",
                hint=_next_step(step, on_failure),
                database_state=on_failure,
            )


def check_verification(connection: Connection, statement: Statement) -> str:
    """Run one statement of a verify script; empty when it holds, else what is wrong.

    It holds when it runs without an error and, if it is a query of one boolean column, when there is at least one row
    and every row is true.
    """
    cursor = connection.execute(statement.sql.encode())
    if cursor.description is None or len(cursor.description) != 1 or cursor.description[0].type_display != "bool":
        return ""
    rows: Sequence[tuple[object, ...]] = cursor.fetchall()
    if not rows:
        return "no row came back, so nothing was checked"
    wrong = sum(row != (True,) for row in rows)
    return f"{wrong} of {len(rows)} rows are not true: {_excerpt(statement)}" if wrong else ""


def _failed(
    exc: psycopg.Error, step: PlannedMigration, statement: Statement | None, state: DatabaseState
) -> SquizzleError:
    where = f"{step.source}:{statement.line}" if statement else step.source
    text = f": {_excerpt(statement)}" if statement else " at commit"
    verb = "apply" if step.direction is Direction.APPLY else "roll back"
    translated = translate_error(exc, doing=f"{verb} {step.migration.version}: {where}{text}", database_state=state)
    hint = _next_step(step, state)
    if isinstance(translated, LockTimeoutError) or is_connection_loss(exc):
        translated.hint = hint
        return translated
    if step.direction is Direction.ROLLBACK:
        return RollbackFailedError(translated.message, hint=hint, database_state=state)
    return MigrationFailedError(translated.message, sqlstate=translated.sqlstate, hint=hint, database_state=state)


def _next_step(step: PlannedMigration, state: DatabaseState) -> str:
    version = step.migration.version
    if state is DatabaseState.UNKNOWN:
        return "the answer to COMMIT was lost: `squizzle status` says whether it got through; then run the same again"
    if state is DatabaseState.CHANGED and step.direction is Direction.ROLLBACK:
        return (
            f"what it did stays; mend the cause and run the same again: {version}'s down.sql begins at its first line"
        )
    if state is DatabaseState.CHANGED:
        return f"statements before it stay; mend the cause and apply {version} again: it goes on behind them"
    if step.direction is Direction.ROLLBACK:
        return f"{version} is still applied; mend its down.sql and run the same again, or restore a backup"
    return f"nothing of {version} was kept; mend {step.source} and run the same again"


def _unexpected(exc: psycopg.Error, step: PlannedMigration) -> SquizzleError:
    return _failed(exc, step, None, DatabaseState.UNKNOWN if is_connection_loss(exc) else DatabaseState.UNTOUCHED)


def _close_failed(connection: Connection, plan: Plan, row_id: int, error: SquizzleError, started: float) -> None:
    """Write the failure into the history; when the session is gone the row stays `running` for the next run."""
    if not row_id or connection.closed:
        return
    duration = timedelta(seconds=time.monotonic() - started)
    try:
        connection.execute("SET SESSION AUTHORIZATION DEFAULT")
        history.fail_row(connection, plan.schema, row_id, error=error.message, duration=duration)
    except psycopg.Error as exc:
        error.add_note(f"the history could not be told: {server_words(exc)}")


def _refuse_without_lock(connection: Connection, plan: Plan) -> None:
    if not holds_lock(connection):
        raise RefusedError(
            f"the script gave up the migration lock of {plan.database} (pg_advisory_unlock_all or DISCARD ALL)",
            hint="its changes are committed; remove that statement, look at `squizzle status`, and run the same again",
            database_state=DatabaseState.CHANGED,
        )


def _excerpt(statement: Statement) -> str:
    text = " ".join(statement.sql.split())
    return text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]}…"
