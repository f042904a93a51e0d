"""What is damaged, measured against a backup."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import psycopg
from psycopg.rows import class_row

from squizzle.backups.records import Backup
from squizzle.migrations.history import History, read_history
from squizzle.migrations.records import Direction, HistoryRow, RowState
from squizzle.postgres.access import Connection
from squizzle.postgres.sql_files import load_sql
from squizzle.postgres.translation import translate_error
from squizzle.proof.comparison import compare_digests
from squizzle.proof.digests import digest_database
from squizzle.proof.records import Comparison, TableComparison

# Whoever waits for a lock that long does not wait for an ordinary transaction.
_BLOCKED_FOR = timedelta(seconds=30)


class Disaster(StrEnum):
    """What went wrong, by what it looks like."""

    CORRUPTED_MIGRATION = "corrupted_migration"
    PERFORMANCE_DEGRADATION = "performance_degradation"
    DATA_LOSS = "data_loss"
    LOCKED_DATABASE = "locked_database"
    WRONG_ENVIRONMENT = "wrong_environment"
    CASCADING_FAILURE = "cascading_failure"


@dataclass(frozen=True, kw_only=True, slots=True)
class Activity:
    """What can be seen of a database from outside, while its clients are still in.

    Attributes:
        blocked_sessions: How many wait for a lock for more than 30 seconds.
        checksum_failures: Pages whose checksum was wrong since the statistics were reset.
        prepared_transactions: Transactions that hold locks without a session.
        clients: Sessions of others than Squizzle.
    """

    blocked_sessions: int = 0
    checksum_failures: int = 0
    prepared_transactions: int = 0
    clients: int = 0

    @property
    def sentence(self) -> str:
        """All of it, for a log."""
        return (
            f"{self.blocked_sessions} sessions wait for a lock, {self.checksum_failures} pages have a wrong checksum,"
            f" {self.prepared_transactions} prepared transactions"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Assessment:
    """What is wrong with a database.

    Attributes:
        since: The backup it was compared with.
        since_version: The version that the backup has.
        current: The highest version applied now.
        applied_since: Versions that are applied now and were not in the backup, oldest first.
        failed: Versions whose last run failed.
        comparison: Every difference from the backup; changes that clients made since count, too.
        running: Versions whose run has not ended, or died.
        disaster_at: Since when it is damaged: as somebody said, else when the first of `applied_since` was applied;
            None when nobody knows.
        foreign: Versions in the history that the migrations folder does not have.
        activity: What was going on before the fence.
        is_told: Whether somebody said since when it is damaged.
    """

    since: str
    since_version: str | None
    current: str | None
    applied_since: tuple[str, ...]
    failed: tuple[HistoryRow, ...]
    comparison: Comparison
    running: tuple[HistoryRow, ...] = ()
    disaster_at: datetime | None = None
    foreign: tuple[str, ...] = ()
    activity: Activity = Activity()
    is_told: bool = False

    @property
    def by_migration(self) -> bool:
        """Whether the versions that were applied since the backup are all that the damage is put down to."""
        return bool(self.applied_since) and not self.is_told

    @property
    def damage(self) -> tuple[str, ...]:
        """What a migration must not do without being asked: tables gone, rows gone, objects gone or changed."""
        lost = (
            f"{table.table}: {table.missing_rows:,} rows fewer than the {table.expected_rows:,} of the backup"
            for table in self.damaged_tables
        )
        pages = self.activity.checksum_failures
        return (*lost, *self.schema_damage, *((f"{pages:,} pages have a wrong checksum",) if pages else ()))

    @property
    def damaged_tables(self) -> tuple[TableComparison, ...]:
        """Tables that have fewer rows than the backup."""
        return tuple(table for table in self.comparison.tables if table.missing_rows)

    @property
    def added_rows(self) -> tuple[tuple[str, int], ...]:
        """Tables that have more rows than the backup, with how many more: the least that was written since."""
        return tuple(
            (table.table, more)
            for table in self.comparison.tables
            if not _is_bookkeeping(table.table) and (more := (table.found_rows or 0) - (table.expected_rows or 0)) > 0
        )

    @property
    def schema_damage(self) -> tuple[str, ...]:
        """Definitions that are gone, or are others than in the backup."""
        gone = (f"missing: {label}" for label in self.comparison.missing)
        changed = (f"changed: {label}" for label in self.comparison.changed)
        return (*gone, *changed)

    @property
    def changed_tables(self) -> tuple[str, ...]:
        """Tables whose rows are others, though not fewer: clients wrote them, or the migration spoiled them."""
        return tuple(
            table.table
            for table in self.comparison.different_tables
            if not table.missing_rows and not _is_bookkeeping(table.table)
        )

    @property
    def disasters(self) -> tuple[Disaster, ...]:
        """What this looks like, the worst first; several where several fit, none where nothing is wrong."""
        return tuple(_disasters(self))


# What Squizzle writes beside the user's tables: it grows with whatever they do.
_OURS = ("squizzle.", "squizzle_log.", "squizzle_undo.", "squizzle_salvage.")


def _is_bookkeeping(table: str) -> bool:
    return table.startswith(_OURS) or table.endswith(".squizzle_history")


# So many things wrong at once have one cause that is none of them.
_A_CASCADE = 3


def _disasters(found: Assessment) -> Iterator[Disaster]:
    single = [
        *([Disaster.WRONG_ENVIRONMENT] if found.foreign else []),
        *([Disaster.DATA_LOSS] if _lost_data(found) else []),
        *([Disaster.CORRUPTED_MIGRATION] if _spoiled(found) else []),
        *([Disaster.LOCKED_DATABASE] if found.activity.blocked_sessions or found.running else []),
        *([Disaster.PERFORMANCE_DEGRADATION] if _slow(found) else []),
    ]
    rollback_failed = any(row.direction is Direction.ROLLBACK for row in found.failed)
    if rollback_failed or len(single) >= _A_CASCADE:
        yield Disaster.CASCADING_FAILURE
    yield from single


def _lost_data(found: Assessment) -> bool:
    tables = tuple(label for label in found.comparison.missing if label.startswith(("table ", "column ")))
    return bool(found.damaged_tables or tables)


def _spoiled(found: Assessment) -> bool:
    by_migration = found.applied_since and (found.changed_tables or found.schema_damage)
    return bool(found.failed or by_migration or found.activity.checksum_failures)


def _slow(found: Assessment) -> bool:
    return any(label.startswith(("index ", "statistics ")) for label in found.comparison.missing)


def assess_damage(
    connection: Connection,
    backup: Backup,
    *,
    schema: str = "public",
    known_versions: frozenset[str] | None = None,
    activity: Activity = Activity(),
    since: datetime | None = None,
    by_migration: bool = False,
) -> Assessment:
    """Compare a database with the fingerprints of a backup. Nothing is changed.

    Args:
        connection: A session in the damaged database.
        backup: The newest backup from before the damage.
        schema: Where the migration history is.
        known_versions: The versions of the migrations folder; None when that is not known here.
        activity: What was seen before the fence.
        since: When the damage began, where somebody knows.
        by_migration: Whether it is known, too, that the versions that were applied since the backup did it.
    """
    history = read_history(connection, schema)
    applied_since = _applied_since(history, backup.migration_version)
    rows = history.applied()
    return Assessment(
        since=backup.id,
        since_version=backup.migration_version,
        current=history.current,
        applied_since=applied_since,
        failed=history.in_state(RowState.FAILED),
        comparison=compare_digests(backup.fingerprint, digest_database(connection, bookkeeping=True)),
        running=history.in_state(RowState.RUNNING),
        disaster_at=since or min((rows[version].applied_at for version in applied_since), default=None),
        foreign=() if known_versions is None else tuple(version for version in rows if version not in known_versions),
        activity=activity,
        is_told=since is not None and not by_migration,
    )


def _applied_since(history: History, version: str | None) -> tuple[str, ...]:
    applied = list(history.applied())
    return tuple(applied[applied.index(version) + 1 :] if version in applied else applied)


def read_activity(control: Connection, database: str) -> Activity:
    """What can be seen of a database from a session in another one. Nothing is changed."""
    values = {"database": database, "waiting": _BLOCKED_FOR}
    try:
        with control.cursor(row_factory=class_row(Activity)) as cursor:
            found = cursor.execute(load_sql("squizzle.recovery", "activity"), values).fetchone()
    except psycopg.Error as exc:
        raise translate_error(exc, doing=f"see what is going on in {database}") from exc
    return found or Activity()
