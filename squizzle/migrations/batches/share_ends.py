"""What the history says when a share of the rows is done: the run stops behind it, or it was the last one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from squizzle.migrations import history
from squizzle.migrations.batch_records import BatchProgress, ShareEnd
from squizzle.migrations.records import Outcome, Plan, PlannedMigration
from squizzle.postgres.access import Connection

_WHOLE = 100


def stop_behind_share(
    connection: Connection, plan: Plan, step: PlannedMigration, row_id: int, outcome: Outcome
) -> BatchProgress:
    """Write that a share of a script's rows is done, which is where its run ends; says how far it is now.

    Raises:
        psycopg.Error: It could not be written. What was done stays, and the next run writes it.
    """
    if step.share is None or step.progress is None:
        raise AssertionError("a run that stops behind a share has a statement that carries it")
    progress = replace(step.progress, statements=outcome.batched)
    progress = _with_end(connection, progress, step.share.position, step.share.pct)
    history.stop_row(connection, plan.schema, row_id, outcome, progress)
    return progress


def note_last_share(connection: Connection, plan: Plan, row_id: int, progress: BatchProgress) -> BatchProgress:
    """Write when a script that was done by share came to its end; any other one is left as it is.

    Args:
        connection: The session that ran the script, as the user who logged in.
        plan: What the script is part of.
        row_id: Its row.
        progress: How far its statements are.

    Raises:
        psycopg.Error: It could not be written; the caller's transaction is at its end.
    """
    if progress.staged is None or not progress.staged.shares:
        return progress
    progress = _with_end(connection, progress, progress.staged.position, _WHOLE)
    history.note_batch(connection, plan.schema, row_id, progress)
    return progress


def _with_end(connection: Connection, progress: BatchProgress, position: int, pct: int) -> BatchProgress:
    statement = progress.of(position)
    if statement is None:
        raise AssertionError("a share ended of a statement that was never begun")
    if statement.share_of is None:
        # All of it was done before anybody asked for a share.
        statement = replace(statement, share_of=statement.rows, by_condition=True)
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    end = ShareEnd(pct=pct, rows=statement.rows, at=row[0] if row else datetime.now(UTC))
    earlier = tuple(one for one in statement.shares if one.pct < pct)
    return progress.with_statement(replace(statement, shares=(*earlier, end)))
