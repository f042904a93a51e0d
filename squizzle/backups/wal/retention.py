"""Which part of the write-ahead log may go: what no backup that stays is brought forward with.

An archive beside the backups grows for ever otherwise. What belongs to which timeline is read from the histories.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from squizzle.backups.catalogue import Pruning
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.wal.archive import ArchivedFile, WalArchive
from squizzle.backups.wal.check import segment_bytes_of
from squizzle.backups.wal.history import Fork, read_forks
from squizzle.backups.wal.names import WalKind, WalName, lsn_number, segment_name, wal_name
from squizzle.backups.wal.stored import COMPRESSED, HASH
from squizzle.errors import ToolError
from squizzle.headway import stretch

_LONGEST_HISTORY = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class LogPruning:
    """What may go of one cluster's log, and what went.

    Attributes:
        system_identifier: The cluster.
        names: Files that may go, in the order in which they are removed: what is left never has a hole.
        segments: How many segments that is.
        size_bytes: All of them together.
        needed_from: The first segment that is needed, by timeline.
        needed_by: Id of the backup that needs the oldest; empty when nobody can tell.
        why_not: Why nothing may go; empty when something may, or everything is needed.
        removed: Whether they were removed.
        failed: Whether the store refused or failed; `why_not` says why.
    """

    system_identifier: str
    names: tuple[str, ...] = ()
    segments: int = 0
    size_bytes: int = 0
    needed_from: Mapping[int, str] | None = None
    needed_by: str = ""
    why_not: str = ""
    removed: bool = False
    failed: bool = False


def plan_log_pruning(archive: WalArchive, pruning: Pruning) -> tuple[LogPruning, ...]:
    """Decide for each cluster of an archive what may go beside the backups that go. Nothing is changed.

    A copy of the cluster is brought forward along its timeline and those that left it later. So a segment goes when it
    is older than the start of every copy that stays on the way to its timeline; marks that stay count, too. Histories
    never go: they are small, and without one nobody can tell which way is which. Nothing goes of a cluster when
    nobody can tell what is needed.

    Args:
        archive: The archive of the same store.
        pruning: What becomes of the backups, or became of them.

    Raises:
        ToolError: The archive cannot be read.
    """
    clusters = archive.clusters()
    if pruning.problems:
        why_not = f"the store has a problem: {pruning.problems[0]}"
        return tuple(LogPruning(system_identifier=system, why_not=why_not) for system in clusters)
    stay = tuple(one.backup for one in pruning.choices if one.keeps or one.backup.id in pruning.refused)
    return tuple(_plan(archive, system, stay) for system in clusters)


def carry_out_log_pruning(archive: WalArchive, plans: Iterable[LogPruning]) -> tuple[LogPruning, ...]:
    """Remove what plans let go, the oldest first: killed in between, what is left has no hole.

    Returns:
        The plans, with what became of them; one that could not be carried out says why not.
    """
    done = []
    for plan in plans:
        try:
            with stretch(f"removing {len(plan.names)} files of the log of {plan.system_identifier}"):
                archive.remove(plan.system_identifier, plan.names)
        except ToolError as exc:
            done.append(replace(plan, why_not=exc.message, failed=True))
        else:
            done.append(replace(plan, removed=bool(plan.names)))
    return tuple(done)


def _plan(archive: WalArchive, system_identifier: str, kept: Sequence[Backup]) -> LogPruning:
    files = archive.files(system_identifier)
    nothing = LogPruning(system_identifier=system_identifier)
    size = segment_bytes_of(archive, system_identifier, files)
    if size is None:
        return replace(nothing, why_not="no segment of it can be read, so nobody can tell which ones are needed")
    needs, why_not = _needs_of(kept, system_identifier, size)
    if why_not:
        return replace(nothing, why_not=why_not)
    named = [(file, name) for file in files if (name := _name_of(file)) is not None]
    timelines = {name.timeline for _, name in named}
    forks = {timeline: _forks_of(archive, system_identifier, named, timeline) for timeline in timelines if timeline > 1}
    first_needed: dict[int, int] = {}
    for timeline in timelines:
        if timeline > min(need.timeline for need in needs) and not forks[timeline]:
            text = f"{timeline:08X}.history is missing or damaged, so nobody can tell which backups need timeline"
            return replace(nothing, why_not=f"{text} {timeline}")
        way = {timeline, *(fork.timeline for fork in forks.get(timeline, ()))}
        numbers = [need.number for need in needs if need.timeline in way]
        if numbers:
            first_needed[timeline] = min(numbers)
    going = [(file, name) for file, name in named if _may_go(name, first_needed, size)]
    going.sort(key=lambda one: (one[1].number(size), one[0].name))
    return LogPruning(
        system_identifier=system_identifier,
        names=tuple(file.name for file, _ in going),
        segments=sum(name.kind is WalKind.SEGMENT and not file.name.endswith(HASH) for file, name in going),
        size_bytes=sum(file.size_bytes for file, _ in going),
        needed_from={one: segment_name(one, number, size) for one, number in sorted(first_needed.items())},
        needed_by=min(needs, key=lambda need: need.number).backup_id,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Need:
    backup_id: str
    timeline: int
    number: int


def _needs_of(kept: Sequence[Backup], system_identifier: str, size: int) -> tuple[list[_Need], str]:
    """What each backup needs the log from, or why nobody can tell."""
    needs = []
    for backup in kept:
        if not (backup.kind.is_cluster or backup.kind is BackupKind.MARK):
            continue
        if not backup.system_identifier:
            return [], f"backup {backup.id} does not say of which cluster it is"
        if backup.system_identifier != system_identifier:
            continue
        position = lsn_number(backup.lsn)
        if backup.timeline is None or position is None:
            return [], f"backup {backup.id} does not say where in the log it begins"
        needs.append(_Need(backup_id=backup.id, timeline=backup.timeline, number=position // size))
    if not needs:
        return [], "the store holds no copy of this cluster, so nobody can tell what is needed"
    return needs, ""


def _name_of(file: ArchivedFile) -> WalName | None:
    return wal_name(file.name.removesuffix(HASH).removesuffix(COMPRESSED))


def _forks_of(
    archive: WalArchive, system_identifier: str, named: Sequence[tuple[ArchivedFile, WalName]], timeline: int
) -> tuple[Fork, ...]:
    for file, name in named:
        if name.kind is WalKind.HISTORY and name.timeline == timeline and not file.name.endswith(HASH):
            with archive.open(system_identifier, file.name) as content:
                return read_forks(content.read(_LONGEST_HISTORY).decode(errors="replace"))
    return ()


def _may_go(name: WalName, first_needed: Mapping[int, int], size: int) -> bool:
    if name.kind is WalKind.HISTORY:
        return False
    first = first_needed.get(name.timeline)
    # No copy that stays comes by this timeline: it was left before the oldest of them began.
    return first is None or name.number(size) < first
