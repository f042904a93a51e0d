"""What can be done with a database's migrations: preview, apply, roll back, verify."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import psycopg

from squizzle.analysis.statements import split_statements
from squizzle.errors import InvalidInputError, VersionConflictError
from squizzle.migrations.aftercare import DefectKind, find_defects
from squizzle.migrations.approvals import Approvals, refuse_unapproved
from squizzle.migrations.batches.automatic import AutomaticBatches
from squizzle.migrations.batches.shares import until_share
from squizzle.migrations.bookkeeping.comparison import check_in_step
from squizzle.migrations.bookkeeping.tool_books import ToolBooks
from squizzle.migrations.executor import Report, execute_plan
from squizzle.migrations.extensions import refuse_missing_extensions
from squizzle.migrations.history import History, close_dead_rows, ensure_history, read_history
from squizzle.migrations.lineage import full_version
from squizzle.migrations.listener import Listener
from squizzle.migrations.planning import choose_for_rollback, plan_apply, plan_rollback
from squizzle.migrations.read_scripts import forget_scripts
from squizzle.migrations.records import (
    HistoryRow,
    Migration,
    Plan,
    PlannedMigration,
    Policy,
    RowState,
)
from squizzle.migrations.session import exclusive, work_in_schema
from squizzle.migrations.status import read_status
from squizzle.migrations.verification import check_verification
from squizzle.postgres.access import Connection
from squizzle.postgres.identity import Target, check_identity, ensure_identity, read_identity
from squizzle.postgres.translation import server_words, translate_error
from squizzle.proof.digests import digest_schema

_WHOLE = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One thing that was verified."""

    name: str
    ok: bool
    detail: str


def preview_plan(
    connection: Connection,
    target: Target,
    migrations: Sequence[Migration],
    *,
    only: str | None = None,
    policy: Policy = Policy(),  # noqa: B008 - frozen
    books: ToolBooks | None = None,
) -> Plan:
    """The plan that `apply_versions` would run now, bound to the schema as it is. Nothing is changed."""
    steps = preview_apply(connection, target, migrations, only=only, policy=policy, books=books)
    digest = digest_schema(connection, schema=target.schema).logical
    return _plan(target, steps, policy, books, schema_digest=digest)


def preview_apply(
    connection: Connection,
    target: Target,
    migrations: Sequence[Migration],
    *,
    to: str | None = None,
    only: str | None = None,
    policy: Policy = Policy(),  # noqa: B008 - frozen
    listener: Listener = Listener(),  # noqa: B008 - frozen
    books: ToolBooks | None = None,
) -> tuple[PlannedMigration, ...]:
    """What `apply_versions` would run now; raises what it would raise. Nothing is changed."""
    check_identity(read_identity(connection), target.expected, database=target.database)
    history = read_history(connection, target.schema)
    if books is not None:
        check_in_step(connection, target.schema, books, history)
    choose = _choose_to_apply(connection, target, migrations, to=to, only=only, policy=policy, listener=listener)
    steps = choose(history)
    refuse_missing_extensions(connection, steps)
    return steps


def _choose_to_apply(
    connection: Connection,
    target: Target,
    migrations: Sequence[Migration],
    *,
    to: str | None,
    only: str | None,
    policy: Policy,
    listener: Listener,
) -> Callable[[History], tuple[PlannedMigration, ...]]:
    choose = partial(
        plan_apply,
        migrations,
        to=to,
        only=only,
        out_of_order=policy.out_of_order,
        save_rows=policy.save_rows,
    )
    rows = policy.batches.automatic_rows
    if rows is None:
        return choose
    automatic = AutomaticBatches(
        connection, target.schema, rows, lock_timeout=policy.timeouts.rows, on_note=listener.on_progress
    )
    return partial(choose, automatic=automatic)


def preview_rollback(
    connection: Connection,
    target: Target,
    migrations: Sequence[Migration],
    *,
    to: str | None = None,
    only: str | None = None,
    books: ToolBooks | None = None,
) -> tuple[PlannedMigration, ...]:
    """What `roll_back_versions` would run now; raises what it would raise. Nothing is changed."""
    check_identity(read_identity(connection), target.expected, database=target.database)
    history = read_history(connection, target.schema)
    if books is not None:
        check_in_step(connection, target.schema, books, history)
    steps = plan_rollback(migrations, history, to=to, only=only)
    refuse_missing_extensions(connection, steps)
    return steps


def preview_versions(
    connection: Connection,
    target: Target,
    migrations: Sequence[Migration],
    *,
    to: str | None = None,
    only: str | None = None,
) -> tuple[str, ...]:
    """The versions that `roll_back_versions` would take back now, newest first. Nothing is changed."""
    check_identity(read_identity(connection), target.expected, database=target.database)
    return tuple(choose_for_rollback(migrations, read_history(connection, target.schema), to=to, only=only))


def apply_versions(  # noqa: PLR0913 - most are left out
    connection: Connection,
    target: Target,
    migrations: Sequence[Migration],
    *,
    to: str | None = None,
    only: str | None = None,
    policy: Policy = Policy(),  # noqa: B008 - frozen
    listener: Listener = Listener(),  # noqa: B008 - frozen
    books: ToolBooks | None = None,
    approvals: Approvals | None = None,
    until_pct: int = 100,
) -> Report:
    """Apply pending versions in order: all, up to one, or just the next one.

    Writes identity and history where they are missing, and closes the rows of runs that died.

    Args:
        connection: A session in the target's database.
        target: The database, and who the caller means by it.
        migrations: What is on disk.
        to: The last version to apply; None for no limit.
        only: The one version to apply; None for all.
        policy: What the project allows.
        listener: Told what happens while it happens.
        books: Another tool's, to be kept in step with the history; None to leave them alone.
        approvals: What may be applied, and what the history says of it; None where nobody has to say so.
        until_pct: How much of the rows of version `to` is done, from 1 to 100, what was done before included. It is
            left half done, which is no failure; the next apply goes on with it (`squizzle.migrations.batches.shares`).

    Raises:
        IdentityMismatchError, LockTimeoutError: See `exclusive`; nothing was changed.
        VersionConflictError, RefusedError: The books are not in step, or may not be written; nothing was changed.
        RefusedError: It is not what was approved any more; nothing was changed.
        VersionConflictError, ChecksumMismatchError, InvalidInputError: See `plan_apply`; nothing was changed.
        MigrationFailedError: See `execute_plan`; the error's `database_state` says what is left.
    """
    choose = _choose_to_apply(connection, target, migrations, to=to, only=only, policy=policy, listener=listener)
    chosen = choose if until_pct == _WHOLE else partial(_share_of, choose, full_version(to, migrations), until_pct)
    return _run(connection, target, chosen, policy=policy, listener=listener, books=books, approvals=approvals)


def _share_of(
    choose: Callable[[History], tuple[PlannedMigration, ...]], version: str | None, pct: int, history: History
) -> tuple[PlannedMigration, ...]:
    return until_share(choose(history), version, pct)


def roll_back_versions(  # noqa: PLR0913 - most are left out
    connection: Connection,
    target: Target,
    migrations: Sequence[Migration],
    *,
    to: str | None = None,
    only: str | None = None,
    policy: Policy = Policy(),  # noqa: B008 - frozen
    listener: Listener = Listener(),  # noqa: B008 - frozen
    books: ToolBooks | None = None,
    approvals: Approvals | None = None,
) -> Report:
    """Run down scripts, newest version first: one version, or everything after one.

    Args and errors as for `apply_versions`; RollbackFailedError when a down script is missing (nothing was changed) or
    fails (that script left nothing behind; newer versions stay rolled back).
    """
    choose = partial(plan_rollback, migrations, to=to, only=only)
    return _run(connection, target, choose, policy=policy, listener=listener, books=books, approvals=approvals)


def _run(
    connection: Connection,
    target: Target,
    choose: Callable[[History], tuple[PlannedMigration, ...]],
    *,
    policy: Policy,
    listener: Listener,
    books: ToolBooks | None,
    approvals: Approvals | None = None,
) -> Report:
    with exclusive(connection, target):
        # Everything that can be refused is refused before identity and history are written.
        history = _settled_history(connection, target)
        if books is not None:
            check_in_step(connection, target.schema, books, history)
            books.refuse_without_rights(connection, target.schema)
        steps = choose(history)
        refuse_missing_extensions(connection, steps)
        if approvals is not None:
            refuse_unapproved(connection, target, steps, approvals)
        ensure_identity(connection, target.expected, database=target.database)
        ensure_history(connection, target.schema, policy.timeouts)
        if books is not None and steps:
            books.ensure(connection, target.schema)
        plan = _plan(target, steps, policy, books)
        try:
            return execute_plan(
                connection,
                plan,
                environment=target.environment,
                listener=listener,
                is_fresh=True,
                approvals=approvals.by_version if approvals else None,
            )
        finally:
            forget_scripts()


def _settled_history(connection: Connection, target: Target) -> History:
    """The history after the rows of dead runs were closed; we hold the lock, so no such run is alive."""
    history = read_history(connection, target.schema)
    dead = history.in_state(RowState.RUNNING)
    if not dead:
        return history
    close_dead_rows(connection, target.schema, dead)
    return read_history(connection, target.schema)


def _plan(
    target: Target,
    steps: tuple[PlannedMigration, ...],
    policy: Policy,
    books: ToolBooks | None,
    *,
    schema_digest: str = "",
) -> Plan:
    return Plan(
        database=target.database,
        schema=target.schema,
        schema_digest=schema_digest,
        steps=steps,
        policy=policy,
        books=books,
    )


def verify_versions(
    connection: Connection,
    target: Target,
    migrations: Sequence[Migration],
    *,
    only: str | None = None,
    books: ToolBooks | None = None,
) -> tuple[Check, ...]:
    """Compare files with the history, run the verify scripts of what is applied, and look for drift.

    Every script runs in a read-only transaction that is rolled back. Nothing is changed.

    Args:
        connection: A session in the target's database.
        target: The database, and who the caller means by it.
        migrations: What is on disk.
        only: Check one version; None for all, for drift, and for the books.
        books: Another tool's that should say the same; None when nobody keeps them.

    Raises:
        IdentityMismatchError: Another database than was meant.
        VersionConflictError: `only` is not applied.
    """
    status = read_status(connection, target, migrations)
    only = full_version(only, migrations)
    rows = [(row, same) for row, same in status.applied if only in {None, row.version}]
    if only is not None and not rows:
        raise VersionConflictError(f"{only} is not applied", hint="`squizzle status` lists what is applied")
    on_disk = {migration.version: migration for migration in migrations}
    checks = [_check_file(row, same) for row, same in rows]
    checks += [_check_script(connection, target.schema, on_disk[row.version]) for row, same in rows if same is not None]
    if only is None:
        checks.append(_check_drift(connection, target))
        checks += _check_defects(connection, target)
        if books is not None:
            checks.append(_check_books(connection, target, books))
    return tuple(checks)


def _check_file(row: HistoryRow, same: bool | None) -> Check:  # noqa: FBT001
    details = {True: "unchanged since it was applied", False: "changed since it was applied", None: "not on disk"}
    return Check(name=f"{row.version} file", ok=bool(same), detail=details[same])


def _check_script(connection: Connection, schema: str, migration: Migration) -> Check:
    name = f"{migration.version} verify.sql"
    if migration.verify_sql is None:
        return Check(name=name, ok=True, detail="has none")
    statements = split_statements(migration.verify_sql, source=migration.labels.verify)
    for statement in statements:
        try:
            with connection.transaction(force_rollback=True):
                connection.execute("SET TRANSACTION READ ONLY")
                work_in_schema(connection, schema)
                problem = check_verification(connection, statement)
        except psycopg.Error as exc:
            problem = server_words(exc)
        if problem:
            return Check(name=name, ok=False, detail=f"line {statement.line}: {problem}")
    return Check(name=name, ok=True, detail=f"{len(statements)} checks hold")


def _check_books(connection: Connection, target: Target, books: ToolBooks) -> Check:
    name = f"books of {books.tool}"
    try:
        check_in_step(connection, target.schema, books, read_history(connection, target.schema))
    except (VersionConflictError, InvalidInputError) as exc:
        return Check(name=name, ok=False, detail=exc.message)
    return Check(name=name, ok=True, detail=f"{books.place(target.schema)} says the same as the history")


def _check_drift(connection: Connection, target: Target) -> Check:
    recorded = read_history(connection, target.schema).schema_digest
    if recorded is None:
        return Check(name="drift", ok=True, detail="nothing was applied yet, so there is nothing to compare with")
    found = digest_schema(connection, schema=target.schema).logical
    if found == recorded:
        return Check(name="drift", ok=True, detail="the schema is as the last run left it")
    detail = f"the schema was changed by somebody else since the last run (was {recorded[:12]}, is {found[:12]})"
    return Check(name="drift", ok=False, detail=detail)


def _check_defects(connection: Connection, target: Target) -> tuple[Check, Check]:
    """An invalid index is a failure; a constraint that waits for its validation is a step on the way."""
    try:
        found = [defect for defect in find_defects(connection) if defect.schema == target.schema]
    except psycopg.Error as exc:
        raise translate_error(exc, doing="look for invalid indexes") from exc
    indexes = [one.sentence() for one in found if one.kind is DefectKind.INVALID_INDEX]
    constraints = [one.sentence() for one in found if one.kind is DefectKind.NOT_VALIDATED]
    return (
        Check(name="invalid indexes", ok=not indexes, detail="; ".join(indexes) or "none"),
        Check(name="constraints not validated", ok=True, detail="; ".join(constraints) or "none"),
    )
