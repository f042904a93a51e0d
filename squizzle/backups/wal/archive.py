"""Where archived files of the log lie: what any such place can do, and the one that is a folder.

Imported for every segment that a server archives, so it imports next to nothing itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Protocol

from squizzle.errors import ToolError

WAL_FOLDER = "wal"
_INCOMING = ".incoming"
_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class ArchivedFile:
    """One file of an archive.

    Attributes:
        name: Its name within the cluster's folder.
        size_bytes: As it lies there.
        stored_at: When it was written.
    """

    name: str
    size_bytes: int
    stored_at: datetime


class WalArchive(Protocol):
    """Files that are written once and never changed, by cluster."""

    @property
    def address(self) -> str:
        """The store as a URL, without any secret."""

    def put_new(self, system_identifier: str, name: str, source: IO[bytes]) -> str:
        """Store a file under a name that is free; whole and durable when this returns, else not there at all.

        Returns:
            The SHA-256 of what was stored.

        Raises:
            FileExistsError: The name is taken; what has it is durable and was not changed.
            ToolError: The store is full or fails; the name stays free.
        """

    def open(self, system_identifier: str, name: str) -> AbstractContextManager[IO[bytes]]:
        """Read a file.

        Raises:
            FileNotFoundError: There is none.
            ToolError: The store cannot be read.
        """

    def files(self, system_identifier: str, prefix: str = "") -> tuple[ArchivedFile, ...]:
        """The files whose names begin so, in the order of their names; none for a cluster that has none.

        Raises:
            ToolError: The store cannot be read.
        """

    def clusters(self) -> tuple[str, ...]:
        """The system identifiers that there are files of."""

    def remove(self, system_identifier: str, names: Sequence[str]) -> None:
        """Remove files, one after the other in this order; those that are not there are passed over.

        Raises:
            ToolError: The store refuses (a lock, a right) or fails; those before were removed, the others not.
        """


class FolderArchive:
    """An archive in a folder: `wal/<system identifier>/<name>`.

    A file is written beside the others under a hidden name, made durable, and given its name by a hard link, which the
    kernel refuses when the name is taken. So no instant leaves half a file under a name, and of two writers one loses.

    Args:
        folder: The store's folder; made when something is stored.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    @property
    def address(self) -> str:
        """The store as a URL."""
        return self.folder.as_uri()

    def put_new(self, system_identifier: str, name: str, source: IO[bytes]) -> str:
        """Store a file under a name that is free; see `WalArchive.put_new`."""
        place = self._place(system_identifier)
        target = place / name
        try:
            incoming = place / _INCOMING
            _make_folders(incoming)
            _remove_leftovers(incoming)
            temporary = incoming / f"{name}.{os.getpid()}.{time.monotonic_ns()}"
            with _new_private_file(temporary) as file:
                try:
                    # The kernel lets go of it however we end: what nobody holds is a leftover.
                    fcntl.flock(file, fcntl.LOCK_EX)
                    digest = _copy(source, file)
                    os.fsync(file.fileno())
                    os.link(temporary, target)
                finally:
                    temporary.unlink(missing_ok=True)
            _sync(place)
        except FileExistsError:
            # Whoever wrote it may have been killed before its name was durable, and nobody would do it after us.
            _sync(target)
            _sync(place)
            raise
        except OSError as exc:
            raise ToolError(
                f"{name} could not be written to {place}: {exc.strerror or exc}; nothing of it was left there",
                hint="check free space, owner and mode of the folder; PostgreSQL tries again by itself",
            ) from exc
        return digest

    def open(self, system_identifier: str, name: str) -> AbstractContextManager[IO[bytes]]:
        """Read a file; see `WalArchive.open`."""
        path = self._place(system_identifier) / name
        try:
            return path.open("rb")
        except FileNotFoundError:
            raise
        except OSError as exc:
            raise self._unreadable(path, exc) from exc

    def files(self, system_identifier: str, prefix: str = "") -> tuple[ArchivedFile, ...]:
        """The files whose names begin so; see `WalArchive.files`."""
        place = self._place(system_identifier)
        try:
            with os.scandir(place) as entries:
                chosen = [one for one in entries if one.name.startswith(prefix) and one.name != _INCOMING]
            found = [(one.name, one.stat()) for one in chosen]
        except FileNotFoundError:
            return ()
        except OSError as exc:
            raise self._unreadable(place, exc) from exc
        return tuple(
            ArchivedFile(name=name, size_bytes=stat.st_size, stored_at=datetime.fromtimestamp(stat.st_mtime, UTC))
            for name, stat in sorted(found, key=lambda one: one[0])
        )

    def clusters(self) -> tuple[str, ...]:
        """The system identifiers that there are files of."""
        place = self.folder / WAL_FOLDER
        try:
            return tuple(sorted(path.name for path in place.iterdir() if path.is_dir())) if place.is_dir() else ()
        except OSError as exc:
            raise self._unreadable(place, exc) from exc

    def remove(self, system_identifier: str, names: Sequence[str]) -> None:
        """Remove files in this order; see `WalArchive.remove`."""
        place = self._place(system_identifier)
        try:
            for name in names:
                (place / name).unlink(missing_ok=True)
            if names:
                _sync(place)
        except OSError as exc:
            raise ToolError(
                f"{exc.filename or place} could not be removed: {exc.strerror or exc}",
                hint="check owner and mode of the folder, then run the same again",
            ) from exc

    def _place(self, system_identifier: str) -> Path:
        return self.folder / WAL_FOLDER / system_identifier

    def _unreadable(self, path: Path, error: OSError) -> ToolError:
        return ToolError(
            f"{path} cannot be read: {error.strerror or error}", hint="check owner, mode, and whether the disk is there"
        )


def _new_private_file(path: Path) -> IO[bytes]:
    # The log holds every row that was written.
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _copy(source: IO[bytes], target: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := source.read(_CHUNK):
        target.write(chunk)
        digest.update(chunk)
    target.flush()
    return digest.hexdigest()


def _make_folders(folder: Path) -> None:
    """Make a folder and those above it that are missing, each durable in the one above."""
    if folder.is_dir():
        return
    _make_folders(folder.parent)
    with contextlib.suppress(FileExistsError):  # another writer was faster
        folder.mkdir(mode=0o700)
    _sync(folder.parent)


def _remove_leftovers(incoming: Path) -> None:
    """Remove what killed writers left; nobody reads it, and a full disk may be full of it."""
    for path in _entries(incoming):
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file, contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def _entries(folder: Path) -> Iterator[Path]:
    yield from sorted(folder.iterdir())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
