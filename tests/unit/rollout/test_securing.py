"""A backup stands for one taken now while it is this rollout's, whole, and not too old."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from squizzle.backups.records import Backup, BackupKind
from squizzle.recovery.ways import BackupMeans
from squizzle.rollout.securing import still_good

BEGAN = datetime(2025, 3, 1, 8, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_a_backup_is_taken_again_when_it_is_too_old_or_not_what_it_should_be(backup: Backup) -> None:
    def taken(hours: int, *, kind: BackupKind = BackupKind.FULL, problems: tuple[str, ...] = ()) -> BackupMeans:
        one = replace(backup, kind=kind, started_at=BEGAN + hours * HOUR)
        return BackupMeans(id=one.id, backup=one, problems=problems)

    def found(now: int, *backups: BackupMeans) -> datetime | None:
        one = still_good(backups, since=BEGAN, now=BEGAN + now * HOUR, good_for=24 * HOUR)
        return one and one.started_at

    first, later = taken(1), taken(30)
    assert found(25, first) == BEGAN + HOUR
    assert found(26, first) is None
    assert found(31, first, later) == found(31, later, first) == BEGAN + 30 * HOUR
    assert found(2, taken(-1)) is None, "another rollout's"
    assert found(2, taken(1, kind=BackupKind.SCHEMA), taken(1, problems=("damaged",))) is None
    assert found(2, BackupMeans(id="x", backup=None)) is None
