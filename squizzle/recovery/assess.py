"""What is damaged, measured against a backup."""

from __future__ import annotations

from dataclasses import dataclass

from squizzle.backups.records import Backup
from squizzle.migrations.history import History, read_history
from squizzle.migrations.records import HistoryRow, RowState
from squizzle.postgres.access import Connection
from squizzle.proof.digests import compare_digests, digest_database
from squizzle.proof.records import Comparison


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
    """

    since: str
    since_version: str | None
    current: str | None
    applied_since: tuple[str, ...]
    failed: tuple[HistoryRow, ...]
    comparison: Comparison

    @property
    def damage(self) -> tuple[str, ...]:
        """What a migration must not do without being asked: tables gone, rows gone, objects gone or changed."""
        lost = (
            f"{table.table}: {table.missing_rows:,} of {table.expected_rows:,} rows are gone"
            for table in self.comparison.tables
            if table.missing_rows
        )
        gone = (f"missing: {label}" for label in self.comparison.missing)
        changed = (f"changed: {label}" for label in self.comparison.changed)
        return (*lost, *gone, *changed)


def assess_damage(connection: Connection, backup: Backup, *, schema: str = "public") -> Assessment:
    """Compare a database with the fingerprints of a backup. Nothing is changed.

    Args:
        connection: A session in the damaged database.
        backup: The newest backup from before the damage.
        schema: Where the migration history is.
    """
    history = read_history(connection, schema)
    return Assessment(
        since=backup.id,
        since_version=backup.migration_version,
        current=history.current,
        applied_since=_applied_since(history, backup.migration_version),
        failed=history.in_state(RowState.FAILED),
        comparison=compare_digests(backup.fingerprint, digest_database(connection, bookkeeping=True)),
    )


def _applied_since(history: History, version: str | None) -> tuple[str, ...]:
    applied = list(history.applied())
    return tuple(applied[applied.index(version) + 1 :] if version in applied else applied)
