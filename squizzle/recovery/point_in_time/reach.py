"""How far a copy of a cluster and the archived log behind it reach, said before anything is put together. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from squizzle.backups.records import Backup
from squizzle.backups.wal.check import ClusterArchive, Run
from squizzle.backups.wal.names import WalKind, WalName, lsn_number, lsn_text, segment_name
from squizzle.errors import BackupDamagedError, InvalidInputError
from squizzle.recovery.point_in_time.records import Point
from squizzle.recovery.recovery_target import TargetKind

# The clocks of the server and of the archive's disk need not agree to the second.
_CLOCKS_DIFFER = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reach:
    """What can be recovered to from one copy.

    Attributes:
        to_lsn: Up to where there is log without a gap.
        at: When the last segment before the gap, or the last one of all, was archived; None when there is none.
        last: The name of that segment; empty when there is none.
        missing: The first segment of the gap; empty where the archived log just ends.
        segments: How many segments are archived from the copy's own end to there.
    """

    to_lsn: str
    at: datetime | None
    last: str
    missing: str
    segments: int


def own_end(backup: Backup) -> int:
    """Up to where a copy holds the log itself, as a number of bytes."""
    return lsn_number(backup.digest_lsn) or lsn_number(backup.stop_lsn) or lsn_number(backup.lsn) or 0


def lineage_of(found: ClusterArchive, backup: Backup, timeline: str) -> tuple[int, ...]:
    """The timelines that a recovery runs through, the copy's own first.

    Args:
        found: The archive of the cluster.
        backup: The copy.
        timeline: `current`, that of the copy, `latest`, or a number.

    Raises:
        InvalidInputError: The wanted timeline does not come from the copy's.
    """
    own = backup.timeline or 1
    parents = {one.number: one.parent for one in found.timelines}
    if timeline == "current":
        return (own,)
    number: int | None = max([own, *parents]) if timeline == "latest" else int(timeline)
    line: list[int] = []
    while number is not None and number > own:
        line.append(number)
        number = parents.get(number)
    if number != own:
        raise InvalidInputError(
            f"timeline {timeline} does not come from timeline {own}, which backup {backup.id} is on",
            hint="`squizzle wal --store …` shows which came from which; leave --timeline out for the copy's own",
        )
    return (own, *reversed(line))


def reach_of(found: ClusterArchive, backup: Backup, lineage: Sequence[int]) -> Reach:
    """How far the log goes on behind a copy without a gap. On a timeline's fork the newer one has the segment, too."""
    size = found.segment_bytes
    first = own_end(backup) // size
    through, at, last, missing = first - 1, None, "", ""
    for begin, end, run in sorted(_runs(found, lineage), key=lambda one: one[:2]):
        if end < first:
            continue
        if begin > through + 1:
            missing = segment_name(lineage[0], through + 1, size)
            break
        if end > through:
            through, at, last = end, run.to_time, run.last
    to = max((through + 1) * size, own_end(backup))
    return Reach(to_lsn=lsn_text(to), at=at, last=last, missing=missing, segments=max(0, through + 1 - first))


def _runs(found: ClusterArchive, lineage: Sequence[int]) -> Iterator[tuple[int, int, Run]]:
    for one in found.timelines:
        if one.number in lineage:
            for run in one.runs:
                yield _number(run.first, found.segment_bytes), _number(run.last, found.segment_bytes), run


def _number(segment: str, segment_bytes: int) -> int:
    return WalName(text=segment, kind=WalKind.SEGMENT, timeline=0).number(segment_bytes)


def refuse_out_of_reach(reach: Reach, backup: Backup, point: Point, *, archive: str) -> None:
    """Refuse a point that the archived log does not reach; PostgreSQL would say so after hours of recovery.

    Args:
        reach: Of the copy.
        backup: The copy.
        point: Where to.
        archive: What messages call the archive.

    Raises:
        BackupDamagedError: A segment on the way is missing; the message names it.
        InvalidInputError: The archived log ends before the point.
    """
    if _is_reached(reach, point):
        return
    if reach.missing:
        raise BackupDamagedError(
            f"{reach.missing} is missing from {archive}, so {point.words} cannot be reached from backup {backup.id}:"
            f" there is log without a gap only up to {reach.to_lsn}{_when(reach)}",
            hint="find the segment (the server's pg_wal, another copy of the archive), or recover to a point before it",
        )
    ends = (
        f"ends at {reach.to_lsn}{_when(reach)}" if reach.last else f"has nothing behind the copy's end {reach.to_lsn}"
    )
    raise InvalidInputError(
        f"the log in {archive} {ends}, before {point.words}",
        hint="a server that still runs archives the rest at once: SELECT pg_switch_wal(); then the same again",
    )


def _when(reach: Reach) -> str:
    return f" ({reach.last}, archived at {reach.at:%Y-%m-%d %H:%M:%S %Z})" if reach.at else ""


def _is_reached(reach: Reach, point: Point) -> bool:
    end = lsn_number(reach.to_lsn) or 0
    if point.lsn:
        # What begins there has to be seen, or nobody could know that it is reached.
        position = lsn_number(point.lsn) or 0
        return position < end or (point.target.kind is TargetKind.NAME and position == end)
    if point.target.kind is TargetKind.TIME:
        at = datetime.fromisoformat(point.target.value)
        return reach.at is not None and at <= reach.at + (timedelta() if reach.missing else _CLOCKS_DIFFER)
    # Of a name without a manifest nobody knows where it is; the end of the log must be the end, and no gap.
    return not reach.missing
