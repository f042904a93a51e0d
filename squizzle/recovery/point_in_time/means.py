"""Whether a database can be brought back as it was right before a disaster. Nothing is made."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta

from squizzle.backups.catalogue import Entry, read_catalogue
from squizzle.backups.proofs import ProofKind, Verdict
from squizzle.backups.records import Backup
from squizzle.backups.store import BackupStore
from squizzle.backups.wal.archive import WalArchive
from squizzle.backups.wal.check import check_cluster
from squizzle.errors import BackupDamagedError, InvalidInputError, SquizzleError
from squizzle.recovery.point_in_time.choosing import choose_copy
from squizzle.recovery.point_in_time.reach import lineage_of, reach_of, refuse_out_of_reach
from squizzle.recovery.point_in_time.records import Point
from squizzle.recovery.point_in_time.recovering import runtime_for
from squizzle.recovery.recovery_target import RecoveryTarget, TargetKind
from squizzle.recovery.ways import PointMeans

# A time stops behind what had committed at it (manual, "recovery_target_inclusive").
_RIGHT_BEFORE = timedelta(microseconds=1)


def target_before(moment: datetime) -> RecoveryTarget:
    """The point right before a moment."""
    return RecoveryTarget(kind=TargetKind.TIME, value=(moment - _RIGHT_BEFORE).isoformat(sep=" "))


def find_point(
    store: BackupStore, archive: WalArchive, *, struck: datetime | None, system_identifier: str
) -> PointMeans | None:
    """The point right before a disaster, and the copy that leads to it.

    Args:
        store: Where copies of the cluster are.
        archive: Its archived log.
        struck: When the disaster began; None when nobody knows.
        system_identifier: The cluster.

    Returns:
        The point, with why it cannot be reached. None without a moment, a copy of this cluster, or any log of it. That
        the log ends before the moment is no reason: a server that lives archives the rest when it is asked to.
    """
    entries = read_catalogue(store)
    has_copy = any(_is_copy_of(one.backup, system_identifier) for one in entries)
    if struck is None or not has_copy or system_identifier not in archive.clusters():
        return None
    point = Point(target=target_before(struck))
    try:
        backup = choose_copy(entries, point, system_identifier=system_identifier)
        runtime_for(backup)
        found = check_cluster(archive, system_identifier)
        reach = reach_of(found, backup, lineage_of(found, backup, "current"))
        with suppress(InvalidInputError):  # the rest is in the server still
            refuse_out_of_reach(reach, backup, point, archive=archive.address)
    except BackupDamagedError as exc:
        return PointMeans(backup_id=backup.id, target=struck, problem=exc.message)
    except SquizzleError as exc:
        return PointMeans(backup_id="", target=struck, problem=exc.message)
    took, at = _last_time(entries, backup)
    return PointMeans(backup_id=backup.id, target=struck, took=took, proven_at=at)


def _is_copy_of(backup: Backup | None, system_identifier: str) -> bool:
    return backup is not None and backup.kind.is_cluster and backup.system_identifier == system_identifier


def _last_time(entries: tuple[Entry, ...], backup: Backup) -> tuple[timedelta | None, datetime | None]:
    """How long this very copy took to come back to life when that was last tried; the log behind it comes on top."""
    notes = next(one.notes for one in entries if one.id == backup.id)
    proof = notes.last(ProofKind.RESTORE)
    return (proof.duration, proof.at) if proof is not None and proof.verdict is Verdict.PASS else (None, None)
