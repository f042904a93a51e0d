"""What a database holds of the migrations on disk; looks, and changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from squizzle.migrations.history import History, read_history
from squizzle.migrations.records import HistoryRow, Migration, RowState
from squizzle.migrations.session import lock_holder
from squizzle.postgres.access import Connection
from squizzle.postgres.identity import Identity, Target, check_identity, read_identity


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """What is applied, what is not, and what went wrong.

    Attributes:
        database: The database's name.
        identity: Who it says it is; None before the first change.
        current: The highest applied version.
        applied: The rows that brought the applied versions, each with whether its file is still the same (None when
            there is no such file any more). Without those that are pending again.
        pending: What is on disk and not applied; or repeatable, and changed since it was applied.
        again: The versions among these that were applied before: repeatable ones.
        failed: Versions whose last run failed.
        running: Versions whose run has not ended.
        partly: Versions of which a share of the rows is done, as was meant; they are pending, too.
        runner: Who migrates now; None while `running` is not empty means that the run died.
    """

    database: str
    identity: Identity | None
    current: str | None
    applied: tuple[tuple[HistoryRow, bool | None], ...]
    pending: tuple[Migration, ...]
    again: frozenset[str]
    failed: tuple[HistoryRow, ...]
    running: tuple[HistoryRow, ...]
    partly: tuple[HistoryRow, ...] = ()
    runner: str | None = None


def read_status(connection: Connection, target: Target, migrations: Sequence[Migration]) -> Status:
    """What the database holds of these migrations. Nothing is changed.

    Raises:
        IdentityMismatchError: Another database than was meant.
        DatabaseError: The history may not be read, or the session was lost.
    """
    identity = read_identity(connection)
    check_identity(identity, target.expected, database=target.database)
    history = read_history(connection, target.schema)
    checksums = {migration.version: migration.checksum for migration in migrations}
    applied = history.applied()
    wanted = pending(migrations, history)
    again = frozenset(one.version for one in wanted if one.version in applied)
    return Status(
        database=target.database,
        identity=identity,
        current=history.current,
        applied=tuple((row, _same_file(row, checksums)) for row in applied.values() if row.version not in again),
        pending=wanted,
        again=again,
        failed=tuple(row for row in history.in_state(RowState.FAILED)),
        running=history.in_state(RowState.RUNNING),
        partly=history.in_state(RowState.PARTLY),
        runner=lock_holder(connection),
    )


def _same_file(row: HistoryRow, checksums: dict[str, str]) -> bool | None:
    if row.version not in checksums:
        return None
    return row.checksum == checksums[row.version]


def pending(migrations: Sequence[Migration], history: History) -> tuple[Migration, ...]:
    """The migrations that are on disk and not in the database, oldest first, then the repeatable ones that changed."""
    applied, half_done = history.applied(), history.half_done()

    def is_pending(migration: Migration) -> bool:
        row = applied.get(migration.version)
        if row is None or not migration.repeatable:
            return row is None
        # A try that stopped half-way left something else behind than the text that was applied before.
        return row.checksum != migration.checksum or migration.version in half_done

    return tuple(migration for migration in migrations if is_pending(migration))
