"""Which copy of a cluster a recovery to a point begins with. Pure, but for reading the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from squizzle.backups.catalogue import Entry
from squizzle.backups.proofs import ProofKind, Verdict
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.wal.names import lsn_number
from squizzle.errors import InvalidInputError, RefusedError
from squizzle.recovery.point_in_time.records import Point
from squizzle.recovery.recovery_target import RecoveryTarget, TargetKind

_POINT_DETAIL = "restore_point"


def point_of_mark(mark: Backup) -> Point:
    """The point that a mark is: its name, or its position where the account might not name it.

    Raises:
        InvalidInputError: It is no mark.
    """
    if mark.kind is not BackupKind.MARK:
        raise InvalidInputError(f"backup {mark.id} ({mark.kind}) is no mark", hint="name one of kind mark")
    name = mark.details.get(_POINT_DETAIL, "")
    target = (
        RecoveryTarget(kind=TargetKind.NAME, value=name)
        if name
        else RecoveryTarget(kind=TargetKind.LSN, value=mark.lsn)
    )
    return Point(target=target, lsn=mark.lsn, mark=mark)


def known_point(target: RecoveryTarget, marks: Iterable[Backup]) -> Point:
    """What is known about a point: the position, where it was asked for, or where a mark of that name says it."""
    if target.kind is TargetKind.LSN:
        return Point(target=target, lsn=target.value)
    if target.kind is TargetKind.NAME:
        for one in marks:
            if one.kind is BackupKind.MARK and one.details.get(_POINT_DETAIL) == target.value:
                return replace(point_of_mark(one), target=target)
    return Point(target=target)


def ended_at(backup: Backup) -> datetime:
    """When a copy was whole: only from then on there is a state that it can be recovered to."""
    return backup.started_at + backup.duration


def is_before(backup: Backup, point: Point) -> bool:
    """Whether a copy ends before a point; True also where nobody knows where the point is."""
    wanted, end = lsn_number(point.lsn), lsn_number(backup.stop_lsn)
    if wanted is not None and end is not None:
        return end <= wanted
    if point.target.kind is TargetKind.TIME:
        return ended_at(backup) <= datetime.fromisoformat(point.target.value)
    return True


def choose_copy(entries: Sequence[Entry], point: Point, *, system_identifier: str) -> Backup:
    """The newest copy of this cluster that ends before the point, and that nothing is known against.

    Args:
        entries: The store's, newest first.
        point: Where to.
        system_identifier: The cluster that is to be recovered; empty when the account may not read it.

    Raises:
        InvalidInputError: There is none, or it cannot be told which one ends before the point.
    """
    copies = [
        one.backup
        for one in entries
        if one.backup is not None and one.backup.kind.is_cluster and not one.problems and not _failed(one)
    ]
    ours = [one for one in copies if one.system_identifier == system_identifier]
    if not ours:
        raise InvalidInputError(
            "the store holds no usable copy of this cluster"
            + (f" ({system_identifier}), only of {_clusters(copies)}" if copies else ""),
            hint="name the copy's id to recover from another cluster's; `squizzle backup physical` takes one for the"
            " next time",
        )
    fitting = sorted((one for one in ours if is_before(one, point)), key=_end, reverse=True)
    if not fitting:
        first = min(ours, key=_end)
        raise InvalidInputError(
            f"{point.words} lies before the end of the oldest copy, {first.id} ({first.stop_lsn},"
            f" {ended_at(first):%Y-%m-%d %H:%M:%S %Z})",
            hint="name a later point, or a store with older copies; `squizzle backups` lists what there is",
        )
    if _is_unknown(point) and len(fitting) > 1:
        ends = ", ".join(f"{one.id} ({ended_at(one):%Y-%m-%d %H:%M:%S %Z})" for one in fitting)
        raise InvalidInputError(
            f"no mark of the store says where {point.words} is, so it cannot be told which copy ends before it",
            hint=f"name the newest that does: squizzle restore ID --to-name …; there are {ends}",
        )
    return fitting[0]


def refuse_unfit_copy(backup: Backup, point: Point) -> None:
    """Refuse a copy that somebody named for a point that it does not lead to.

    Raises:
        InvalidInputError: It is no copy of a cluster, or ends behind the point.
        RefusedError: The point's mark is one of another cluster.
    """
    if not backup.kind.is_cluster:
        raise InvalidInputError(
            f"backup {backup.id} ({backup.kind}) is no copy of a cluster, so no log can be replayed on it",
            hint="name one of kind physical or incremental, or leave the id out: then the newest fitting one is taken",
        )
    mark = point.mark
    if mark is not None and mark.system_identifier != backup.system_identifier:
        raise RefusedError(
            f"the mark {mark.id} is one of the cluster {mark.system_identifier}, backup {backup.id} of"
            f" {backup.system_identifier}",
            hint="name a copy of the mark's cluster, or leave the id out",
        )
    if not is_before(backup, point):
        raise InvalidInputError(
            f"backup {backup.id} ends at {backup.stop_lsn} ({ended_at(backup):%Y-%m-%d %H:%M:%S %Z}), behind"
            f" {point.words}",
            hint="name an older copy, or leave the id out: then the newest one that ends before the point is taken",
        )


def _is_unknown(point: Point) -> bool:
    return point.target.kind is TargetKind.NAME and not point.lsn


def _end(backup: Backup) -> tuple[int, datetime]:
    return lsn_number(backup.stop_lsn) or 0, ended_at(backup)


def _failed(entry: Entry) -> bool:
    proofs = (entry.notes.last(kind) for kind in (ProofKind.FILES, ProofKind.RESTORE))
    return any(proof is not None and proof.verdict is Verdict.FAIL for proof in proofs)


def _clusters(copies: Iterable[Backup]) -> str:
    return ", ".join(sorted({one.system_identifier for one in copies}))
