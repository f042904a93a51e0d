"""Whether an archive is whole: every segment after the other, on every timeline, each what it says it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import IO, cast

from squizzle.backups.records import Backup
from squizzle.backups.wal.archive import ArchivedFile, WalArchive
from squizzle.backups.wal.header import HEADER_BYTES, header_problem, read_header
from squizzle.backups.wal.history import Fork, read_forks
from squizzle.backups.wal.names import (
    DEFAULT_SEGMENT_BYTES,
    WalKind,
    WalName,
    lsn_number,
    lsn_text,
    segment_name,
    wal_name,
)
from squizzle.backups.wal.stored import COMPRESSED, HASH, HashingReader, plain, read_hash
from squizzle.errors import BackupDamagedError

_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """Segments that follow each other without a gap: whoever has a base backup within can recover to any point of it.

    Attributes:
        first: Name of the first segment.
        last: Name of the last one.
        from_lsn: Where the first one begins.
        to_lsn: Where the last one ends.
        from_time: When the first one was stored; what it holds is older.
        to_time: When the last one was stored.
        segments: How many there are.
    """

    first: str
    last: str
    from_lsn: str
    to_lsn: str
    from_time: datetime
    to_time: datetime
    segments: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeline:
    """One timeline of a cluster.

    Attributes:
        number: 1 for the first.
        parent: The timeline that it left; None for the first, and when its history is missing.
        fork_lsn: Where it left it.
        runs: The segments that there are; more than one run means gaps.
        partial: Name of the segment that was not full when the timeline ended.
    """

    number: int
    parent: int | None
    fork_lsn: str | None
    runs: tuple[Run, ...]
    partial: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterArchive:
    """What an archive holds of one cluster.

    Attributes:
        system_identifier: The cluster.
        segment_bytes: How long its segments are.
        timelines: In order.
        problems: A sentence each, naming the file; none for an archive that is whole.
        read: Whether every file was read, or only their names and lengths.
    """

    system_identifier: str
    segment_bytes: int
    timelines: tuple[Timeline, ...]
    problems: tuple[str, ...]
    read: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class _Stored:
    file: ArchivedFile
    name: WalName

    @property
    def is_plain(self) -> bool:
        return self.file.name == self.name.text


def check_cluster(archive: WalArchive, system_identifier: str, *, read: bool = False) -> ClusterArchive:
    """Look for gaps and for whatever does not belong; nothing is changed.

    Args:
        archive: Where to look.
        system_identifier: Which cluster.
        read: Also read every file, and compare it with its hash, its name and the cluster.

    Raises:
        ToolError: The archive cannot be read.
    """
    files = archive.files(system_identifier)
    stored, problems = _sort_out(files)
    segment_bytes = segment_bytes_of(archive, system_identifier, files) or DEFAULT_SEGMENT_BYTES
    problems += _wrong_lengths(stored, segment_bytes)
    if read:
        problems += (found for one in stored if (found := _content_problem(archive, system_identifier, one)))
    histories = {
        one.name.timeline: _fork_of(archive, system_identifier, one)
        for one in stored
        if one.name.kind is WalKind.HISTORY
    }
    numbers = sorted({one.name.timeline for one in stored})
    timelines = tuple(_timeline(number, stored, histories, segment_bytes) for number in numbers)
    problems += _gaps(timelines, segment_bytes)
    problems += _fork_problems(timelines, histories, segment_bytes)
    problems += _divergences(stored, {file.name: file.stored_at for file in files}, histories, segment_bytes)
    return ClusterArchive(
        system_identifier=system_identifier,
        segment_bytes=segment_bytes,
        timelines=timelines,
        problems=tuple(problems),
        read=read,
    )


def _sort_out(files: Sequence[ArchivedFile]) -> tuple[list[_Stored], list[str]]:
    """Files of the log, and a sentence about each file that is none, has no hash, or is there twice."""
    names = {file.name for file in files}
    stored, problems = [], []
    for file in files:
        if file.name.endswith(HASH):
            if file.name.removesuffix(HASH) not in names:
                problems.append(f"{file.name} is there without its segment, which was removed")
            continue
        name = wal_name(file.name.removesuffix(COMPRESSED))
        if name is None:
            problems.append(f"{file.name} is no file of a write-ahead log; move it away")
            continue
        if file.name + HASH not in names:
            problems.append(f"{file.name} has no hash: its archiving was not finished, or the hash was removed")
        if file.name + COMPRESSED in names:
            problems.append(f"{file.name} is there twice, plain and compressed; the plain one is used")
        stored.append(_Stored(file=file, name=name))
    return stored, problems


def segment_bytes_of(archive: WalArchive, system_identifier: str, files: Iterable[ArchivedFile]) -> int | None:
    """How long segments are: what the first readable one says; None when there is none.

    Raises:
        ToolError: The archive cannot be read.
    """
    for file in files:
        name = wal_name(file.name.removesuffix(COMPRESSED))
        if name is not None and name.kind is WalKind.SEGMENT:
            try:
                with archive.open(system_identifier, file.name) as stored, plain(file.name, stored) as content:
                    return read_header(_beginning(content), source=file.name).segment_bytes
            except (BackupDamagedError, FileNotFoundError):
                continue  # its own length or content is named elsewhere
    return None


def _beginning(content: IO[bytes]) -> bytes:
    return content.read(HEADER_BYTES)


def _wrong_lengths(stored: Sequence[_Stored], segment_bytes: int) -> list[str]:
    return [
        f"{one.file.name} has {one.file.size_bytes} bytes, a whole one has {segment_bytes}"
        for one in stored
        if one.name.kind.has_header and one.is_plain and one.file.size_bytes != segment_bytes
    ]


def _content_problem(archive: WalArchive, system_identifier: str, one: _Stored) -> str:
    """Why a file is not what it says it is; empty when it is."""
    name = one.file.name
    try:
        expected = read_hash(archive, system_identifier, name)
        with archive.open(system_identifier, name) as file:
            reader = HashingReader(file)
            with plain(name, cast("IO[bytes]", reader)) as content:
                first = _beginning(content)
                size = len(first)
                while chunk := content.read(_CHUNK):
                    size += len(chunk)
            found = reader.finish()
        if expected is not None and found != expected:
            return f"{name} is damaged: it has SHA-256 {found[:16]}…, expected {expected[:16]}…"
        if not one.name.kind.has_header:
            return ""
        problem = header_problem(read_header(first, source=name), one.name, size, system_identifier)
    except BackupDamagedError as exc:
        return exc.message
    except FileNotFoundError:
        return f"{name} was removed while it was being read"
    return f"{name}: {problem}" if problem else ""


def _fork_of(archive: WalArchive, system_identifier: str, one: _Stored) -> Fork | None:
    """The last line of a history; None when it cannot be read."""
    try:
        with archive.open(system_identifier, one.file.name) as file:
            forks = read_forks(file.read(_CHUNK).decode(errors="replace"))
    except FileNotFoundError:
        return None
    return forks[-1] if forks else None


def _timeline(
    number: int, stored: Sequence[_Stored], histories: Mapping[int, Fork | None], segment_bytes: int
) -> Timeline:
    mine = [one for one in stored if one.name.timeline == number]
    segments = {one.name.number(segment_bytes): one.file.stored_at for one in mine if one.name.kind is WalKind.SEGMENT}
    partial = [one.name.text for one in mine if one.name.kind is WalKind.PARTIAL]
    fork = histories.get(number)
    return Timeline(
        number=number,
        parent=fork.timeline if fork else None,
        fork_lsn=lsn_text(fork.position) if fork else None,
        runs=tuple(_runs(number, segments, segment_bytes)),
        partial=partial[-1] if partial else None,
    )


def _runs(timeline: int, segments: Mapping[int, datetime], segment_bytes: int) -> Iterator[Run]:
    numbers = sorted(segments)
    begins = [one for one in numbers if one - 1 not in segments]
    ends = [one for one in numbers if one + 1 not in segments]
    for first, last in zip(begins, ends, strict=True):
        yield Run(
            first=segment_name(timeline, first, segment_bytes),
            last=segment_name(timeline, last, segment_bytes),
            from_lsn=lsn_text(first * segment_bytes),
            to_lsn=lsn_text((last + 1) * segment_bytes),
            from_time=segments[first],
            to_time=segments[last],
            segments=last - first + 1,
        )


def _gaps(timelines: Sequence[Timeline], segment_bytes: int) -> list[str]:
    problems = []
    for one in timelines:
        for before, after in pairwise(one.runs):
            begin, end = _number(before.last, segment_bytes) + 1, _number(after.first, segment_bytes)
            problems.append(_missing(one.number, begin, end, segment_bytes))
    return problems


def _fork_problems(
    timelines: Sequence[Timeline], histories: Mapping[int, Fork | None], segment_bytes: int
) -> list[str]:
    """What is missing where a timeline leaves its parent.

    The new timeline has the segment of the fork itself, whose beginning is copied; the parent has all before it.
    """
    by_number = {one.number: one for one in timelines}
    problems = []
    for one in timelines:
        fork = histories.get(one.number)
        if one.number == 1 or not (one.runs or one.number in histories):
            continue
        if fork is None:
            problems.append(f"{one.number:08X}.history is missing or damaged, so nothing can be recovered to it")
            continue
        parent, place = by_number.get(fork.timeline), fork.position // segment_bytes
        if one.runs and (first := _number(one.runs[0].first, segment_bytes)) > place:
            problems.append(_missing(one.number, place, first, segment_bytes))
        if parent and parent.runs and (last := _number(parent.runs[-1].last, segment_bytes)) + 1 < place:
            problems.append(_missing(parent.number, last + 1, place, segment_bytes))
    return problems


def _divergences(
    stored: Sequence[_Stored],
    times: Mapping[str, datetime],
    histories: Mapping[int, Fork | None],
    segment_bytes: int,
) -> Iterator[str]:
    """Servers that went on writing after another one had been promoted.

    What a timeline has behind a fork and had before it is fine: that is what a recovery to an earlier moment leaves.
    The time is that of the hash, which nobody touches later, not even whoever damages the file.
    """

    def stored_at(some: _Stored) -> datetime:
        return times.get(some.file.name + HASH, some.file.stored_at)

    for one in stored:
        fork = histories.get(one.name.timeline) if one.name.kind is WalKind.HISTORY else None
        if fork is None:
            continue
        late = [
            other.name.text
            for other in stored
            if other.name.kind is WalKind.SEGMENT
            and other.name.timeline == fork.timeline
            and other.name.number(segment_bytes) >= fork.position // segment_bytes
            and stored_at(other) > stored_at(one)
        ]
        if late:
            yield (
                f"{late[-1]} was stored after timeline {one.name.timeline} had left timeline {fork.timeline} at"
                f" {lsn_text(fork.position)}: the old server went on ({len(late)} segments), and what it wrote is"
                f" missing on timeline {one.name.timeline}"
            )


def useless_copies(found: ClusterArchive, backups: Iterable[Backup]) -> tuple[str, ...]:
    """Copies of the cluster that cannot be brought forward, for the log behind their start is not there. Pure.

    Args:
        found: The archive of a cluster.
        backups: Every backup of the store.

    Returns:
        A sentence for each.
    """
    return tuple(
        f"{missing} is missing, so no moment behind the end of backup {one.id} can be recovered to from it"
        for one in backups
        if one.kind.is_cluster and one.system_identifier == found.system_identifier
        for missing in _missing_start(found, one)
    )


def archive_problems(archive: WalArchive, backups: Sequence[Backup]) -> tuple[str, ...]:
    """What is wrong with the log of every cluster of an archive, by names and lengths; a sentence each.

    Args:
        archive: Where to look.
        backups: Every backup of the same store.

    Raises:
        ToolError: The archive cannot be read.
    """
    found = [check_cluster(archive, system) for system in archive.clusters()]
    return tuple(
        f"log of cluster {one.system_identifier}: {text}"
        for one in found
        for text in (*one.problems, *useless_copies(one, backups))
    )


def _missing_start(found: ClusterArchive, backup: Backup) -> Iterator[str]:
    position = lsn_number(backup.lsn)
    if position is None or backup.timeline is None:
        return
    size = found.segment_bytes
    number = position // size
    runs = [
        (one.number, *(_number(name, size) for name in (run.first, run.last)))
        for one in found.timelines
        for run in one.runs
    ]
    if any(timeline == backup.timeline and first <= number <= last for timeline, first, last in runs):
        return
    # Without any later one, the archive only has not come as far yet.
    if any(timeline >= backup.timeline and last > number for timeline, _, last in runs):
        yield segment_name(backup.timeline, number, size)


def _number(segment: str, segment_bytes: int) -> int:
    return WalName(text=segment, kind=WalKind.SEGMENT, timeline=0).number(segment_bytes)


def _missing(timeline: int, begin: int, end: int, segment_bytes: int) -> str:
    """The sentence about segments that are missing from `begin` to before `end`."""
    first, last = (segment_name(timeline, one, segment_bytes) for one in (begin, end - 1))
    return f"{first} is missing" if first == last else f"{first} to {last} are missing ({end - begin} segments)"
