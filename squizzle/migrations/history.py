"""`squizzle_history`: what was applied to this schema, when, by whom, and how it ended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import kwargs_row
from psycopg.types.json import Jsonb

from squizzle.analysis.locks.records import RelationLock
from squizzle.migrations.approvals import Approval
from squizzle.migrations.batch_records import BatchProgress
from squizzle.migrations.records import Direction, HistoryRow, Outcome, PlannedMigration, RowState, Timeouts
from squizzle.migrations.saved_rows import SavedRows
from squizzle.migrations.versions import is_repeatable, version_key
from squizzle.postgres.access import Connection
from squizzle.postgres.names_in_queries import ClientNamesCursor
from squizzle.postgres.own_scripts import OwnTables
from squizzle.postgres.own_tables import ensure_tables, find_tables
from squizzle.postgres.translation import translate_error

HISTORY_TABLE = "squizzle_history"
_DIED = "the run that did this died before it ended"


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """All rows of one schema's history, oldest first, and what they add up to."""

    rows: tuple[HistoryRow, ...] = ()

    def newest(self) -> dict[str, HistoryRow]:
        """The newest row of every version, in the order of versions."""
        newest = {row.version: row for row in self.rows}
        return {version: newest[version] for version in sorted(newest, key=version_key)}

    def applied(self) -> dict[str, HistoryRow]:
        """The versions that are in the database now, oldest first, with the row that brought each.

        A rollback that failed changed nothing, so its version is still applied.
        """
        applied: dict[str, HistoryRow] = {}
        for row in self.rows:
            if row.success and row.direction is Direction.APPLY:
                applied[row.version] = row
            elif row.success:
                applied.pop(row.version, None)
        return {version: applied[version] for version in sorted(applied, key=version_key)}

    @property
    def current(self) -> str | None:
        """The highest applied version; None on an empty database. Repeatable migrations are outside of the order."""
        return next((version for version in reversed(self.applied()) if not is_repeatable(version)), None)

    def half_done(self) -> dict[str, HistoryRow]:
        """Versions of which a failed script of several pieces left something behind, with the row that counts.

        A rollback that failed leaves them half done; one that succeeded, or an apply that did, ends it.
        """
        half_done: dict[str, HistoryRow] = {}
        for row in self.rows:
            if row.success:
                half_done.pop(row.version, None)
            elif row.direction is Direction.APPLY and row.is_begun:
                half_done[row.version] = row
        return half_done

    def half_rolled_back(self) -> dict[str, HistoryRow]:
        """Versions whose newest row is a rollback with batches that did not end: they are neither there nor gone."""
        backwards = {version: row for version, row in self.newest().items() if row.direction is Direction.ROLLBACK}
        return {
            version: row
            for version, row in backwards.items()
            if not row.success and row.batch_progress is not None and row.is_begun
        }

    def interrupted(self, direction: Direction) -> frozenset[str]:
        """Versions whose script was on its way in this direction when its run died, and has not succeeded since."""
        found: set[str] = set()
        for row in self.rows:
            died = (row.success is None and not row.is_partly) or (row.error or "").startswith(_DIED)
            if row.success:
                found.discard(row.version)
            elif died and row.direction is direction:
                found.add(row.version)
        return frozenset(found)

    def in_state(self, state: RowState) -> tuple[HistoryRow, ...]:
        """The newest rows that are in this state."""
        return tuple(row for row in self.newest().values() if row_state(row) is state)

    @property
    def schema_digest(self) -> str | None:
        """The schema digest recorded last, for telling drift; None when none was."""
        return next((row.schema_digest for row in reversed(self.rows) if row.success and row.schema_digest), None)


def row_state(row: HistoryRow) -> RowState:
    """What one row says."""
    if row.success is None:
        return RowState.PARTLY if row.is_partly else RowState.RUNNING
    if not row.success:
        return RowState.FAILED
    return RowState.APPLIED if row.direction is Direction.APPLY else RowState.ROLLED_BACK


def history_table(schema: str) -> sql.Identifier:
    """The history's qualified name: scripts may change `search_path`."""
    return sql.Identifier(schema, HISTORY_TABLE)


def history_tables(schema: str) -> OwnTables:
    """The history of a schema, as its script describes it."""
    return OwnTables(
        package="squizzle.migrations",
        script="history_table",
        names=(("history", history_table(schema).as_string(None)),),
    )


def ensure_history(connection: Connection, schema: str, timeouts: Timeouts = Timeouts()) -> None:  # noqa: B008 - frozen
    """Create the history table where it is missing, and add the columns that one of an earlier version lacks.

    Args:
        connection: The session that holds the migration lock.
        schema: Where the table is.
        timeouts: For the lock on a table that monitoring reads; it is tried again until `budget` is used up.

    Raises:
        RefusedError: A newer Squizzle made it, and this one knows too little.
        LockTimeoutError: A column is missing and the lock was not granted; nothing was changed.
        DatabaseError: No right to create or change it, no such schema, or the session was lost.
    """
    ensure_tables(connection, history_tables(schema), lock_timeout=timeouts.lock, patience=timeouts.budget)


def find_history(connection: Connection, schema: str) -> sql.Composable | None:
    """What to read the history of a schema from, as `h`; None where it has none. Nothing is changed.

    Raises:
        RefusedError: A newer Squizzle made it, and this one knows too little.
        DatabaseError: No right to look, or the session was lost.
    """
    own = history_tables(schema)
    try:
        found = find_tables(connection, own)
    except psycopg.Error as exc:
        raise translate_error(exc, doing=f"read {schema}.{HISTORY_TABLE}", needs=_rights(schema, "SELECT")) from exc
    return found.source(own.tables[0], "h") if found else None


def read_history(connection: Connection, schema: str) -> History:
    """All rows; an empty history where there is no table. Nothing is changed.

    Raises:
        DatabaseError: No right to read it, or the session was lost.
    """
    history = find_history(connection, schema)
    if history is None:
        return History()
    query = sql.SQL(
        "SELECT id, version, name, direction, success, applied_at, applied_by, error, checksum,"
        " statements_done, schema_digest, certificate, rollout_id, batch_progress, saved_rows FROM {} ORDER BY id"
    ).format(history)
    try:
        with connection.cursor(row_factory=kwargs_row(_from_row)) as cursor:
            return History(rows=tuple(cursor.execute(query)))
    except psycopg.Error as exc:
        raise translate_error(exc, doing=f"read {schema}.{HISTORY_TABLE}", needs=_rights(schema, "SELECT")) from exc


def _from_row(
    *, direction: str, batch_progress: dict[str, Any] | None, saved_rows: dict[str, Any] | None, **columns: object
) -> HistoryRow:
    return HistoryRow(
        direction=Direction(direction),
        batch_progress=BatchProgress.from_json(batch_progress),
        saved_rows=SavedRows.from_json(saved_rows),
        **columns,  # type: ignore[arg-type]
    )


def begin_row(
    connection: Connection, schema: str, step: PlannedMigration, environment: str | None, approval: Approval
) -> int:
    """Write the `running` row of a step, before its first statement; returns the row's id.

    A run that stopped behind a share of its rows has one already, which is gone on with, or, when the version is taken
    back, closed.

    Everybody sees it at once, but this commit does not wait for the disk (and no standby): the next one of the session
    does, and writes the log in order, so a row can be lost only together with everything that its script did.
    """
    query = sql.SQL(
        "INSERT INTO {history} (version, name, checksum, direction, environment, statements_done, batch_progress,"
        " saved_rows, certificate, approved_by, rollout_id) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
        " RETURNING id, pg_catalog.set_config('synchronous_commit', 'off', true)"
    ).format(history=history_table(schema))
    one = step.migration
    if step.row_id is not None and step.direction is Direction.APPLY:
        return _go_on(connection, schema, step.row_id, approval)
    if step.row_id is not None:
        error = "a share of its rows was done, as was meant; then the version was taken back"
        fail_row(connection, schema, step.row_id, error=error, duration=None)
    progress = Jsonb(step.progress.to_json()) if step.progress else None
    saved = Jsonb(step.saved.to_json()) if step.saved else None
    values: tuple[object, ...] = (one.version, one.name, one.checksum, step.direction.value, environment)
    values = (*values, step.done_before, progress, saved)
    values = (*values, approval.certificate, approval.approved_by, approval.rollout_id)
    return int(str(_one(connection, query, values)[0]))


def _go_on(connection: Connection, schema: str, row_id: int, approval: Approval) -> int:
    """The row of a run that stopped behind a share runs again; when it began, by what right and with whom stays."""
    query = sql.SQL(
        "UPDATE {history} SET applied_by = session_user, batch_progress = batch_progress || '{{\"stopped\": false}}',"
        " certificate = coalesce(%s, certificate), approved_by = coalesce(%s, approved_by),"
        " rollout_id = coalesce(%s, rollout_id) WHERE id = %s"
        " RETURNING id, pg_catalog.set_config('synchronous_commit', 'off', true)"
    ).format(history=history_table(schema))
    values = (approval.certificate, approval.approved_by, approval.rollout_id, row_id)
    return int(str(_one(connection, query, values)[0]))


def stop_row(connection: Connection, schema: str, row_id: int, outcome: Outcome, progress: BatchProgress) -> None:
    """Write that a run ends behind a share of its rows, as it was meant to; the row stays neither done nor failed.

    Args:
        connection: The session that ran the script.
        schema: The schema of the history.
        row_id: The row.
        outcome: How it went.
        progress: How far it is, the share included.
    """
    query = sql.SQL(
        "UPDATE {history} SET duration_ms = coalesce(duration_ms, 0) + %s,"
        " lock_wait_ms = coalesce(lock_wait_ms, 0) + %s, attempts = greatest(attempts, %s), batch_progress = %s"
        " WHERE id = %s"
    ).format(history=history_table(schema))
    document = Jsonb(replace(progress, stopped=True).to_json())
    _write(connection, query, (_ms(outcome.duration), _ms(outcome.lock_wait), outcome.attempts, document, row_id))


def finish_row(connection: Connection, schema: str, row_id: int, outcome: Outcome, *, statements: int) -> None:
    """Close a row as done; inside the script's own transaction, so that both are there or neither.

    Args:
        connection: The session that ran the script.
        schema: The schema of the history.
        row_id: The row.
        outcome: How it went.
        statements: How many statements the script has.
    """
    query = sql.SQL(
        "UPDATE {history} SET success = true, duration_ms = coalesce(duration_ms, 0) + %s,"
        " lock_wait_ms = coalesce(lock_wait_ms, 0) + %s, attempts = greatest(attempts, %s), statements_done = %s,"
        " predicted_locks = %s, observed_locks = %s WHERE id = %s"
    ).format(history=history_table(schema))
    predicted, observed = outcome.locks.predicted, outcome.locks.observed
    values = (
        _ms(outcome.duration),
        _ms(outcome.lock_wait),
        outcome.attempts,
        statements,
        Jsonb({"locks": lock_documents(predicted.locks), "complete": predicted.complete}),
        None if observed is None else Jsonb({"locks": lock_documents(observed)}),
        row_id,
    )
    _write(connection, query, values)


def lock_documents(locks: Iterable[RelationLock]) -> list[dict[str, str]]:
    """Locks as JSON has them: `[{"relation": "public.t", "mode": "ACCESS EXCLUSIVE"}]`."""
    return [{"relation": str(lock.relation), "mode": lock.mode.value} for lock in locks]


def record_digest(connection: Connection, schema: str, digest: str) -> None:
    """Note the schema's logical digest on the newest row, at the end of a run."""
    query = sql.SQL(
        "UPDATE {history} SET schema_digest = %s WHERE id = (SELECT max(id) FROM {history} WHERE success)"
    ).format(history=history_table(schema))
    connection.execute(query, (digest,))


def fail_row(connection: Connection, schema: str, row_id: int, *, error: str, duration: timedelta | None) -> None:
    """Close a row as failed, with what went wrong."""
    query = sql.SQL(
        "UPDATE {history} SET success = false, error = %s, duration_ms = coalesce(%s, duration_ms) WHERE id = %s"
    ).format(history=history_table(schema))
    _write(connection, query, (error, None if duration is None else _ms(duration), row_id))


def note_done(connection: Connection, schema: str, row_id: int, statements: int) -> None:
    """Note how many of a script's statements are finished; inside the piece's own transaction where it has one."""
    query = sql.SQL("UPDATE {history} SET statements_done = %s WHERE id = %s").format(history=history_table(schema))
    connection.execute(query, (statements, row_id))


def note_batch(connection: Connection, schema: str, row_id: int, progress: BatchProgress) -> None:
    """Note how far the batched statements of a script are; inside the transaction of the batch."""
    query = sql.SQL("UPDATE {history} SET batch_progress = %s WHERE id = %s").format(history=history_table(schema))
    connection.execute(query, (Jsonb(progress.to_json()), row_id))


def note_saved(connection: Connection, schema: str, row_id: int, saved: SavedRows | None) -> None:
    """Note which rows are saved and where; inside the transaction that saved (or dropped) them."""
    query = sql.SQL("UPDATE {history} SET saved_rows = %s WHERE id = %s").format(history=history_table(schema))
    connection.execute(query, (Jsonb(saved.to_json()) if saved else None, row_id))


def _write(connection: Connection, query: sql.Composed, values: tuple[object, ...]) -> None:
    """Write as the user who logged in, in one round trip: the role that a script left may not write our history."""
    ClientNamesCursor(connection).execute(sql.SQL("SET SESSION AUTHORIZATION DEFAULT; ") + query, values)


def close_dead_rows(connection: Connection, schema: str, rows: Iterable[HistoryRow]) -> None:
    """Close the `running` rows of runs that died; the caller holds the lock, so no run can be alive.

    A transactional script that never said `success` was rolled back by the server, so nothing of it is there.
    """
    for row in rows:
        done = f"; {row.statements_done} statements outside a transaction had finished" if row.statements_done else ""
        half = "; a statement that runs in batches goes on behind its last one" if row.batch_progress else ""
        error = f"{_DIED}{done}{half}"
        try:
            fail_row(connection, schema, row.id, error=error, duration=None)
        except psycopg.Error as exc:
            needs = _rights(schema, "SELECT and UPDATE")
            raise translate_error(exc, doing=f"close a row of {schema}.{HISTORY_TABLE}", needs=needs) from exc


def _rights(schema: str, rights: str) -> str:
    return f"USAGE on the schema {schema} and {rights} on {schema}.{HISTORY_TABLE}"


def _one(connection: Connection, query: sql.Composed | str, values: tuple[object, ...]) -> tuple[object, ...]:
    try:
        row = connection.execute(query, values).fetchone()
    except psycopg.Error as exc:
        needs = f"SELECT, INSERT and UPDATE on {HISTORY_TABLE}"
        raise translate_error(exc, doing=f"use {HISTORY_TABLE}", needs=needs) from exc
    if row is None:
        raise AssertionError("a query that always returns one row returned none")
    return row


def _ms(duration: timedelta) -> int:
    return round(duration.total_seconds() * 1000)
