"""What a failed statement is called, what it leaves, and what to do next."""

from __future__ import annotations

import psycopg

from squizzle.analysis.records import Statement
from squizzle.errors import (
    DatabaseState,
    LockTimeoutError,
    MigrationFailedError,
    RollbackFailedError,
    SquizzleError,
)
from squizzle.migrations.records import Direction, PlannedMigration
from squizzle.postgres.translation import is_connection_loss, translate_error

_EXCERPT = 120


def statement_failed(
    exc: psycopg.Error,
    step: PlannedMigration,
    statement: Statement | None,
    state: DatabaseState,
    *,
    otherwise: str = "at commit",
    which: str = "",
) -> SquizzleError:
    """The error of ours for a statement of a script that failed, or for what was done `otherwise`.

    Args:
        exc: What the driver raised.
        step: The script.
        statement: The statement; None for what was done otherwise.
        state: What is left.
        otherwise: What that was.
        which: The part of the statement that failed; empty for the whole.
    """
    where = f"{step.source}:{statement.line}" if statement else step.source
    text = f": {excerpt(statement)}{which}" if statement else f" {otherwise}"
    verb = "apply" if step.direction is Direction.APPLY else "roll back"
    translated = translate_error(exc, doing=f"{verb} {step.migration.version}: {where}{text}", database_state=state)
    hint = next_step(step, state)
    if isinstance(translated, LockTimeoutError) or is_connection_loss(exc):
        translated.hint = hint
        return translated
    if step.direction is Direction.ROLLBACK:
        return RollbackFailedError(translated.message, hint=hint, database_state=state)
    return MigrationFailedError(translated.message, sqlstate=translated.sqlstate, hint=hint, database_state=state)


def books_failed(exc: psycopg.Error, step: PlannedMigration, books: str, state: DatabaseState) -> SquizzleError:
    """The error of ours for a script that ran, and whose work could not be noted in another tool's books."""
    error = statement_failed(exc, step, None, state, otherwise=f"when it was noted in the books of {books}")
    if not is_connection_loss(exc) and not isinstance(error, LockTimeoutError):
        kept = "nothing of it was kept" if state is DatabaseState.UNTOUCHED else "what it did outside of it stays"
        error.hint = f"the script's last transaction was rolled back, {kept}; put those books right, and run it again"
    return error


def ended_between_batches(
    step: PlannedMigration, statement: Statement, state: DatabaseState, *, rows: int
) -> SquizzleError:
    """The error of ours for a statement in batches whose caller went away; `rows` are done."""
    kind = MigrationFailedError if step.direction is Direction.APPLY else RollbackFailedError
    where = f"{step.source}:{statement.line}"
    text = f"{where}: was ended between two batches, as whoever ran it wanted; {rows:,} rows are done"
    return kind(text, hint=next_step(step, state), database_state=state)


def next_step(step: PlannedMigration, state: DatabaseState) -> str:
    """What to do after a failure that left the database in this state."""
    version = step.migration.version
    if state is DatabaseState.UNKNOWN:
        return "the answer to COMMIT was lost: `squizzle status` says whether it got through; then run the same again"
    if state is DatabaseState.CHANGED:
        return _next_step_behind(step)
    if step.direction is Direction.ROLLBACK:
        return f"{version} is still applied; mend {step.source} and run the same again, or restore a backup"
    return f"nothing of {version} was kept; mend {step.source} and run the same again"


def _next_step_behind(step: PlannedMigration) -> str:
    """What to do when a part of the script stays."""
    version = step.migration.version
    if step.migration.program is not None:
        return f"what it committed stays; mend the cause and run the same again: {step.source} begins at its first line"
    if step.direction is Direction.APPLY:
        return f"statements before it stay; mend the cause and apply {version} again: it goes on behind them"
    if step.progress is not None:
        return f"what it did stays; mend the cause and roll {version} back again: it goes on behind that"
    return f"what it did stays; mend the cause and run the same again: {version}'s down.sql begins at its first line"


def program_failed(error: BaseException, step: PlannedMigration, line: int, state: DatabaseState) -> SquizzleError:
    """The error of ours for what a program raised and the server knows nothing of; `line` is 0 when none is known."""
    verb = "apply" if step.direction is Direction.APPLY else "roll back"
    where = f"{step.source}:{line}" if line else step.source
    words = " ".join(str(error).split())
    text = f"could not {verb} {step.migration.version}: {where}: {type(error).__name__}: {words}".rstrip(": ")
    kind = MigrationFailedError if step.direction is Direction.APPLY else RollbackFailedError
    return kind(text, hint=next_step(step, state), database_state=state)


def unexpected(exc: psycopg.Error, step: PlannedMigration) -> SquizzleError:
    """The error of ours for something that failed between the statements."""
    return statement_failed(
        exc, step, None, DatabaseState.UNKNOWN if is_connection_loss(exc) else DatabaseState.UNTOUCHED
    )


def excerpt(statement: Statement) -> str:
    """The beginning of a statement, on one line."""
    # No more than the beginning is looked at: a statement may be as large as its file.
    text = " ".join(statement.sql[: 4 * _EXCERPT].split())
    return text if len(text) <= _EXCERPT and len(statement.sql) <= 4 * _EXCERPT else f"{text[:_EXCERPT]}…"
