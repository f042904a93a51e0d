"""A store that is a folder: one folder a backup, published by a rename, made durable by fsync."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from squizzle.backups.files import MANIFEST_NAME, describe_file, paths_of
from squizzle.backups.locked_folder import make_locked, remove_abandoned
from squizzle.backups.manifest import from_json, to_json
from squizzle.backups.records import Backup, BackupFile
from squizzle.backups.store import refuse_sealed
from squizzle.disturbance import disturb_write
from squizzle.errors import BackupDamagedError, InvalidInputError, ToolError

_UNFINISHED = ".unfinished-"
_REMOVED = ".removed-"
_NEW = ".new"
_CHUNK = 1 << 20
_DAY_S = 86_400


class FolderIncoming:
    """A backup that is being written into a hidden folder.

    Args:
        store: Where it will be published.
        folder: The hidden folder.
    """

    def __init__(self, store: FolderStore, folder: Path) -> None:
        self._store = store
        self._folder = folder
        self._streamed: dict[str, BackupFile] = {}

    @property
    def folder(self) -> Path:
        """Where programs write."""
        return self._folder

    def stream(self, path: str, source: IO[bytes]) -> BackupFile:
        """Write one file as it is made; see `Incoming.stream`."""
        target = self._folder / path
        digest = hashlib.sha256()
        size = 0
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                while chunk := source.read(_CHUNK):
                    file.write(chunk)
                    digest.update(chunk)
                    size += len(chunk)
        except OSError as exc:
            raise self._store.full(path, exc) from exc
        self._streamed[path] = BackupFile(path=path, size_bytes=size, sha256=digest.hexdigest())
        return self._streamed[path]

    def describe(self) -> tuple[BackupFile, ...]:
        """Every file so far; what was streamed is not read again."""
        found = ((path.relative_to(self._folder).as_posix(), path) for path in paths_of(self._folder))
        return tuple(self._streamed.get(name) or describe_file(path, self._folder) for name, path in found)

    def publish(self, backup: Backup) -> Backup:
        """Write the manifest last, make everything durable, and give the backup its name; see `Incoming.publish`."""
        try:
            disturb_write(self._folder / MANIFEST_NAME)
            (self._folder / MANIFEST_NAME).write_text(to_json(backup), encoding="utf-8")
            for path in sorted(self._folder.rglob("*"), reverse=True):
                _sync(path)
            _sync(self._folder)
            self._folder.rename(self._store.folder / backup.id)
            _sync(self._store.folder)
        except OSError as exc:
            raise self._store.full(f"backup {backup.id}", exc) from exc
        return backup


class FolderStore:
    """Backups in a folder of a file system.

    What is being written has a hidden name, so a backup either is there with its manifest or is not there at all. While
    it is written its folder is locked, and the kernel lets go of that lock however the writer ends.

    Args:
        folder: Made when missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    @property
    def address(self) -> str:
        """The store as a URL."""
        return self.folder.as_uri()

    @property
    def work_folder(self) -> None:
        """Files are written where they stay."""
        return

    @property
    def work_copies(self) -> int:
        """There is no work folder."""
        return 0

    @contextmanager
    def receive(self, backup_id: str) -> Iterator[FolderIncoming]:
        """A hidden folder to write a backup into; removed again unless it was published.

        Raises:
            InvalidInputError: The store's folder cannot be made or written.
        """
        unfinished = self.folder / f"{_UNFINISHED}{backup_id}"
        try:
            disturb_write(unfinished)
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = make_locked(unfinished)
        except OSError as exc:
            raise InvalidInputError(
                f"the backup folder {self.folder} cannot be written: {exc.strerror}",
                hint="check owner, mode and free space, or name another folder",
            ) from exc
        try:
            yield FolderIncoming(self, unfinished)
        finally:
            if unfinished.exists():
                shutil.rmtree(unfinished)
            os.close(lock)

    def full(self, what: str, error: OSError) -> ToolError:
        """The error for something that could not be written."""
        return ToolError(
            f"{what} could not be written to {self.folder}: {error.strerror}; nothing was published",
            hint="free space there, then run the same again; older backups are untouched",
        )

    def path_of(self, backup: Backup) -> Path:
        """The folder of a published backup."""
        return self.folder / backup.id

    @contextmanager
    def fetch_stored(self, backup: Backup, *, only: Collection[str] | None = None) -> Iterator[Path]:  # noqa: ARG002
        """The folder of a published backup itself, with all its files."""
        yield self.path_of(backup)

    def read(self, backup_id: str) -> Backup:
        """The manifest of a backup that is not encrypted; see `BackupStore.read`."""
        backup = self.read_header(backup_id)
        refuse_sealed(backup)
        return backup

    @contextmanager
    def fetch(self, backup: Backup, *, only: Collection[str] | None = None) -> Iterator[Path]:
        """The files of a backup that is not encrypted; see `BackupStore.fetch`."""
        refuse_sealed(backup)
        with self.fetch_stored(backup, only=only) as folder:
            yield folder

    def read_header(self, backup_id: str) -> Backup:
        """The manifest of one backup.

        Raises:
            InvalidInputError: There is no such backup.
            BackupDamagedError: Its manifest is damaged.
        """
        path = self.folder / backup_id / MANIFEST_NAME
        # Only a name that the store itself lists: `..` and what is unfinished have manifests, too.
        if not backup_id or backup_id != Path(backup_id).name or backup_id.startswith(".") or not path.exists():
            raise InvalidInputError(f"there is no backup {backup_id!r} in {self.folder}", hint="list the store")
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            raise BackupDamagedError(f"{path} cannot be read: {exc}", hint="use another backup") from exc
        backup = from_json(text, source=str(path))
        if backup.id != backup_id:
            raise BackupDamagedError(
                f"{path} is the manifest of backup {backup.id!r}, expected {backup_id!r}",
                hint="give the folder its name back; the manifest belongs to the files beside it",
            )
        return backup

    def list_ids(self) -> tuple[str, ...]:
        """Every published backup, newest first."""
        if not self.folder.is_dir():
            return ()
        found = (path.parent.name for path in self.folder.glob(f"*/{MANIFEST_NAME}"))
        return tuple(sorted((name for name in found if not name.startswith(".")), reverse=True))

    def list_names(self) -> tuple[str, ...]:
        """The same: a folder is quick to ask."""
        return self.list_ids()

    def remove(self, backup_id: str) -> None:
        """Take the backup's name away, then its files.

        Raises:
            InvalidInputError: The id is not one that the store lists.
            ToolError: The folder cannot be changed.
        """
        if backup_id not in self.list_ids():
            return
        removed = self.folder / f"{_REMOVED}{backup_id}"
        try:
            (self.folder / backup_id).rename(removed)
            _sync(self.folder)
            remove_abandoned(removed)
        except OSError as exc:
            raise ToolError(
                f"backup {backup_id} could not be removed from {self.folder}: {exc.strerror}",
                hint="check owner and mode of the folder, then run the same again",
            ) from exc

    def remove_leftovers(self) -> tuple[str, ...]:
        """Remove what killed runs left: hidden folders that nobody holds a lock on."""
        if not self.folder.is_dir():
            return ()
        found = sorted((*self.folder.glob(f"{_UNFINISHED}*"), *self.folder.glob(f"{_REMOVED}*")))
        return tuple(path.name for path in found if remove_abandoned(path))

    def free_bytes(self) -> int:
        """Bytes free for us on the file system of the folder, or of the nearest folder above that is there."""
        place = self.folder
        while not place.exists():
            place = place.parent
        return shutil.disk_usage(place).free

    def put_text(self, path: str, text: str) -> None:
        """Write a small text by a rename, so that it is there whole or not at all.

        Raises:
            ToolError: The disk is full or fails.
        """
        self.put_bytes(path, text.encode())

    def put_bytes(self, path: str, content: bytes) -> None:
        """Write a small file by a rename, so that it is there whole or not at all; see `BackupStore.put_bytes`."""
        target = self.folder / path
        # A name of its own: of two who write the same file at once, none renames what the other has half written.
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}{_NEW}")
        try:
            disturb_write(target)
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            _sync(temporary)
            temporary.rename(target)
            _sync(target.parent)
        except OSError as exc:
            with suppress(OSError):  # what kept it from being written may keep it from being removed
                temporary.unlink()
            raise ToolError(
                f"{path} could not be written to {self.folder}: {exc.strerror}",
                hint="free space there, then run the same again",
            ) from exc

    def texts(self, folder: str) -> Mapping[str, str]:
        """The texts of a folder, by name; what is no UTF-8 in one is replaced, so that its hash does not fit.

        Raises:
            BackupDamagedError: The disk or its rights do not let us read one.
        """
        place = self.folder / folder
        if not place.is_dir():
            return {}
        found = {}
        for path in sorted(path for path in place.iterdir() if not path.name.startswith(".")):
            try:
                found[path.name] = path.read_text(encoding="utf-8", errors="replace")
            except OSError as exc:
                raise BackupDamagedError(
                    f"{path} cannot be read: {exc}", hint="move the file away; the backup itself is not concerned"
                ) from exc
        return found

    def remove_text(self, path: str) -> None:
        """Remove a text; nothing happens when there is none."""
        (self.folder / path).unlink(missing_ok=True)

    def read_bytes(self, path: str) -> bytes | None:
        """A small file; None when there is none."""
        try:
            return (self.folder / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as exc:
            raise self._unusable(path, "read", exc) from exc

    def list_paths(self, folder: str) -> tuple[str, ...]:
        """The files in a folder and below it; what is being written is hidden."""
        place = self.folder / folder
        found: list[str] = []
        # Not Path.rglob, which passes over a folder that it may not read.
        for above, folders, names in os.walk(place, onerror=lambda exc: self._raise(folder, exc)):
            folders[:] = [name for name in folders if not name.startswith(".")]
            inside = Path(above).relative_to(place)
            found += [(inside / name).as_posix() for name in names if not name.startswith(".")]
        return tuple(sorted(found))

    def remove_files(self, paths: Sequence[str]) -> None:
        """Remove small files, and the folders that are empty then."""
        for path in paths:
            try:
                (self.folder / path).unlink(missing_ok=True)
            except OSError as exc:
                raise self._unusable(path, "removed", exc) from exc
        for folder in sorted({(self.folder / path).parent for path in paths}, reverse=True):
            # Whoever writes there meanwhile makes it not empty.
            with suppress(OSError):
                _remove_killed(folder)
                folder.rmdir()

    def _raise(self, folder: str, error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # never made, or removed since it was listed
            raise self._unusable(folder, "listed", error) from error

    def _unusable(self, path: str, done: str, error: OSError) -> ToolError:
        return ToolError(
            f"{path} in {self.folder} could not be {done}: {error.strerror}",
            hint="check owner and mode of the folder, then run the same again",
        )


def _remove_killed(folder: Path) -> None:
    """Remove what writers of small files left there that were killed; none of them takes a day."""
    for path in folder.glob(f".*{_NEW}"):
        if time.time() - path.stat().st_mtime > _DAY_S:
            path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
