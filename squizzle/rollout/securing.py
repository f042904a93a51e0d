"""Which backup a rollout need not take again."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from squizzle.backups.records import Backup, BackupKind
from squizzle.recovery.ways import BackupMeans


def still_good(found: Iterable[BackupMeans], *, since: datetime, now: datetime, good_for: timedelta) -> Backup | None:
    """The newest full backup that stands for one taken now; None when one has to be taken. Pure.

    A rollout that is killed or waits for days goes on where it was. What a target has got since its backup is lost when
    the backup is its way back, so one that is older than the fleet wants to lose is taken again.

    Args:
        found: Of the target's database.
        since: When the rollout began; another's backups are not its own.
        now: The time.
        good_for: How old a backup may be.
    """
    good = [
        one.backup
        for one in found
        if one.backup is not None
        and not one.problems
        and one.backup.kind is BackupKind.FULL
        and one.backup.started_at >= max(since, now - good_for)
    ]
    return max(good, key=lambda backup: backup.started_at, default=None)
