"""The folder that the log is received into, and the way from there into the archive."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from squizzle.backups.wal.archive import WalArchive
from squizzle.backups.wal.header import HEADER_BYTES
from squizzle.backups.wal.names import WalKind, WalName, segment_name, wal_name
from squizzle.backups.wal.stored import COMPRESSED
from squizzle.backups.wal.transfer import archive_wal
from squizzle.backups.wal.upstream import Start
from squizzle.errors import InvalidInputError, RefusedError

PARTIAL = ".partial"
_LOCK = ".lock"
# What such a file system holds is gone when the machine starts again, and the slot would have moved on.
_IN_MEMORY = frozenset({"tmpfs", "ramfs"})


def put_before(folder: Path, timeline: int, number: int, segment_bytes: int) -> Path:
    """Make pg_receivewal begin with a segment: it goes on behind the last one in its folder.

    Args:
        folder: An empty folder.
        timeline: Of the segment to begin with.
        number: Of the segment to begin with.
        segment_bytes: How long segments are.

    Returns:
        An empty file that looks like the segment before, and is none.
    """
    path = folder / segment_name(timeline, number - 1, segment_bytes)
    with path.open("xb") as file:
        file.truncate(segment_bytes)
    return path


@dataclass(frozen=True, slots=True)
class _Received:
    path: Path
    name: WalName


class WorkFolder:
    """Where received files lie until the archive has them: `<folder>/<system identifier>/<name>`.

    pg_receivewal tells the server what it has made durable here, and the server then lets go of it. So until a file is
    in the archive, this is the only place that has it.

    Args:
        folder: On a disk; made when missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep others out, for the length of the block; the kernel lets go of it however we end.

        Raises:
            InvalidInputError: It cannot be made or written.
            RefusedError: Another receiver works in it, or it lies in memory.
        """
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = (self.folder / _LOCK).open("wb")
        except OSError as exc:
            raise InvalidInputError(
                f"the folder {self.folder} cannot be written: {exc.strerror}",
                hint="name another one, on a disk of this machine: --folder DIR",
            ) from exc
        with lock:
            self._refuse_memory()
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RefusedError(
                    f"another receiver works in {self.folder}", hint="end it, or name another folder: --folder DIR"
                ) from None
            yield

    def _refuse_memory(self) -> None:
        place = self.folder.resolve()
        mounts = [one for one in psutil.disk_partitions(all=True) if place.is_relative_to(one.mountpoint)]
        nearest = max(mounts, key=lambda one: len(one.mountpoint), default=None)
        if nearest is not None and nearest.fstype in _IN_MEMORY:
            raise RefusedError(
                f"{self.folder} lies in memory ({nearest.fstype}): the server lets go of its log when it is there",
                hint="name a folder on a disk: --folder DIR",
            )

    def place_of(self, system_identifier: str) -> Path:
        """The folder for one cluster; made when missing."""
        place = self.folder / system_identifier
        place.mkdir(mode=0o700, exist_ok=True)
        return place

    def prepare(self, system_identifier: str, archive: WalArchive, segment_bytes: int) -> Start | None:
        """Take away half segments that the archive has whole by now.

        Returns:
            Where pg_receivewal will begin; None when there is nothing behind which to go on.

        Raises:
            ToolError: The archive cannot be read.
        """
        found = [one for one in _received(self.place_of(system_identifier)) if one.name.kind.has_header]
        for one in [one for one in found if one.name.kind is WalKind.PARTIAL]:
            if _has(archive, system_identifier, one.name.text.removesuffix(PARTIAL)):
                one.path.unlink()
                found.remove(one)
        if not found:
            return None
        last = max(found, key=lambda one: (one.name.number(segment_bytes), one.name.timeline)).name
        number = last.number(segment_bytes) + (last.kind is WalKind.SEGMENT)
        return Start(timeline=last.timeline, number=number)

    def begin_with(self, system_identifier: str, timeline: int, number: int, segment_bytes: int) -> None:
        """Make the receiver begin with a segment, whatever lay here."""
        place = self.place_of(system_identifier)
        for one in _received(place):
            if one.name.kind.has_header:
                one.path.unlink()
        put_before(place, timeline, number, segment_bytes)

    def publish(self, archive: WalArchive, *, compress: bool, on_stored: Callable[[str], None]) -> None:
        """Bring whatever is finished into the archive, the oldest first, and remove it here after that.

        Killed at any instant, the next call finds it again, and the archive takes the same once more.

        Args:
            archive: Where to.
            compress: As of `archive_wal`.
            on_stored: Told each name that is in the archive now.

        Raises:
            RefusedError: The archive has another content under a name.
            BackupDamagedError: What was received is no segment.
            ToolError: The archive is full or fails. What is not there yet stays here.
        """
        for place in sorted(path for path in self.folder.iterdir() if path.name.isdecimal()):
            found = _received(place)
            last = max((one.name.text for one in found if one.name.kind.has_header), default="")
            for one in found:
                if not _is_finished(one, last):
                    continue
                is_worth_it = one.name.kind is not WalKind.PARTIAL or not _has(archive, place.name, one.name.text)
                if is_worth_it and not _is_empty(one):
                    archive_wal(archive, one.path, one.name.text, system_identifier=place.name, compress=compress)
                    on_stored(one.name.text)
                one.path.unlink()

    def waiting(self) -> int:
        """How many whole segments are not in the archive yet."""
        places = [path for path in self.folder.iterdir() if path.name.isdecimal()]
        return sum(
            one.name.kind is WalKind.SEGMENT and not _is_empty(one) for place in places for one in _received(place)
        )


def _received(place: Path) -> list[_Received]:
    found = ((path, wal_name(path.name)) for path in sorted(place.iterdir()))
    return [_Received(path, name) for path, name in found if name is not None]


def _is_finished(one: _Received, last: str) -> bool:
    """Whether nobody writes to it any more, and nobody needs it to find where to go on.

    Args:
        one: A file.
        last: The name of the last file of the log in the same folder.
    """
    if one.name.kind is WalKind.PARTIAL:
        # pg_receivewal leaves one behind when the server leaves its timeline in the middle of a segment.
        return last[:8] > one.name.text[:8]
    if one.name.kind is WalKind.SEGMENT and _is_empty(one):
        return last > one.name.text  # ours: see `put_before`
    return True


def _is_empty(one: _Received) -> bool:
    if not one.name.kind.has_header:
        return False
    with one.path.open("rb") as file:
        return not any(file.read(HEADER_BYTES))


def _has(archive: WalArchive, system_identifier: str, name: str) -> bool:
    names = {file.name for file in archive.files(system_identifier, name)}
    return bool(names & {name, name + COMPRESSED})
