"""The one executor: runs a plan, one script after the other, and writes down what happened."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import psycopg

from squizzle.errors import DatabaseError, DatabaseState, RefusedError, SquizzleError
from squizzle.headway import stretch
from squizzle.migrations import history
from squizzle.migrations.aftercare import Aftercare, Statistics, care, read_statistics
from squizzle.migrations.approvals import NO_APPROVAL, Approval
from squizzle.migrations.failures import unexpected
from squizzle.migrations.listener import Listener
from squizzle.migrations.records import Outcome, Plan, PlannedMigration
from squizzle.migrations.script_run import ScriptRun
from squizzle.migrations.session import prepare_session, set_lock_timeout
from squizzle.migrations.stored_settings import stores_settings, take_stored_settings
from squizzle.migrations.watch import SessionWatch, watching
from squizzle.postgres.access import Connection
from squizzle.postgres.translation import server_words, translate_error
from squizzle.proof.digests import digest_schema


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What an executor run did, and what it left.

    Attributes:
        outcomes: The scripts that ran.
        schema_digest: Logical digest of the schema afterwards.
        aftercare: Tables that were analysed, and what is half-made in the database.
    """

    outcomes: tuple[Outcome, ...]
    schema_digest: str
    aftercare: Aftercare = field(default_factory=Aftercare)


def execute_plan(
    connection: Connection,
    plan: Plan,
    *,
    environment: str | None = None,
    listener: Listener = Listener(),  # noqa: B008 - frozen
    is_fresh: bool = False,
    approvals: Mapping[str, Approval] | None = None,
) -> Report:
    """Run every script of the plan, piece by piece, each piece together with its note in the history.

    Most scripts are one piece: all of it in one transaction (`squizzle.migrations.units` says when not). The history
    counts finished statements, so that a run that was killed is continued behind them. DDL never waits long in a lock
    queue: what is not granted is rolled back and tried again (`Timeouts`).

    Args:
        connection: The session of `exclusive_session`, with identity and history in place.
        plan: What to run.
        environment: For the history.
        listener: Told what happens while it happens.
        is_fresh: The plan was made for this run, under the same lock, so its schema need not be compared once more.
        approvals: By what right each version is applied, for the history.

    Raises:
        RefusedError: The schema is not the one that the plan was made for; nothing was changed.
        MigrationFailedError: A statement or a verify script failed. A transactional script left nothing behind,
            another one the statements before; versions before it stay applied.
        RollbackFailedError: The same for a down script.
        LockTimeoutError: A lock was not granted in time; as for a failed statement.
        ConnectionFailedError: The session was lost; the message says whether a commit may have got through.
    """
    if not is_fresh:
        _refuse_stale_plan(connection, plan)
    before = _statistics(connection, plan)
    outcomes: list[Outcome] = []
    stored = False
    with watching(connection, listener.on_progress) as watch:
        for step in plan.steps:
            with _after_commits(outcomes):
                _make_ready(connection, plan, outcomes)
                if stored:
                    take_stored_settings(connection)
            approval = (approvals or {}).get(step.migration.version, NO_APPROVAL)
            with stretch(f"running {step.source}"):
                outcome = _run_step(connection, plan, step, environment, watch, listener, approval=approval)
            stored = stored or any(map(stores_settings, step.statements))
            outcomes.append(outcome)
            listener.on_done(outcome)
    with _after_commits(outcomes):
        _make_ready(connection, plan, outcomes)
        digest = _record_schema(connection, plan)
        aftercare = _care(connection, plan, before, listener) if outcomes else Aftercare()
        return Report(outcomes=tuple(outcomes), schema_digest=digest, aftercare=aftercare)


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


def _make_ready(connection: Connection, plan: Plan, outcomes: Sequence[Outcome]) -> None:
    """Clear away what the script before left in the session; refuse to go on when it gave up our lock."""
    holds_lock = prepare_session(connection, schema=plan.schema, timeouts=plan.policy.timeouts)
    if outcomes and not holds_lock:
        raise RefusedError(
            f"the script gave up the migration lock of {plan.database} (pg_advisory_unlock_all or DISCARD ALL)",
            hint="its changes are committed; remove that statement, look at `squizzle status`, and run the same again",
            database_state=DatabaseState.CHANGED,
        )


def _record_schema(connection: Connection, plan: Plan) -> str:
    """Keep the digest that the run ended with, so that later drift can be told."""
    digest = digest_schema(connection, schema=plan.schema).logical
    history.record_digest(connection, plan.schema, digest)
    return digest


def _statistics(connection: Connection, plan: Plan) -> Statistics:
    if not plan.policy.analyze or not plan.steps:
        return {}
    with _after_commits(()):
        return read_statistics(connection)


def _care(connection: Connection, plan: Plan, before: Statistics, listener: Listener) -> Aftercare:
    # ANALYZE waits only for other DDL and VACUUM, and nobody but those waits behind it.
    set_lock_timeout(connection, plan.timeouts.rows)
    analyze = plan.policy.analyze
    return care(connection, before, analyze=analyze, schema=plan.schema, say=listener.on_progress)


def _run_step(
    connection: Connection,
    plan: Plan,
    step: PlannedMigration,
    environment: str | None,
    watch: SessionWatch | None,
    listener: Listener,
    *,
    approval: Approval,
) -> Outcome:
    started = time.monotonic()
    row_id = 0
    try:
        row_id = history.begin_row(connection, plan.schema, step, environment, approval)
        run = ScriptRun(connection, plan, step, row_id, watch=watch, listener=listener)
        return run.run()
    except (SquizzleError, psycopg.Error) as exc:
        error = exc if isinstance(exc, SquizzleError) else unexpected(exc, step)
        _close_failed(connection, plan, row_id, error, started)
        raise error from exc.__cause__ or exc


def _close_failed(connection: Connection, plan: Plan, row_id: int, error: SquizzleError, started: float) -> None:
    """Write the failure into the history; when the session is gone the row stays `running` for the next run."""
    if not row_id or connection.closed:
        return
    duration = timedelta(seconds=time.monotonic() - started)
    try:
        history.fail_row(connection, plan.schema, row_id, error=error.message, duration=duration)
    except psycopg.Error as exc:
        error.add_note(f"the history could not be told: {server_words(exc)}")
