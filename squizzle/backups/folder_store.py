"""A store that is a folder: one folder a backup, published by a rename, made durable by fsync."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from squizzle.backups.manifest import MANIFEST_NAME, Backup, from_json, to_json
from squizzle.errors import BackupDamagedError, InvalidInputError, ToolError

_UNFINISHED = ".unfinished-"


class FolderStore:
    """Backups in a folder of a file system.

    What is being written has a hidden name, so a backup either is there with its manifest or is not there at all.

    Args:
        folder: Made when missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    @property
    def address(self) -> str:
        """The store as a URL."""
        return self.folder.as_uri()

    @contextmanager
    def receive(self, backup_id: str) -> Iterator[Path]:
        """A hidden folder to write a backup into; removed again unless `publish` was called.

        Raises:
            InvalidInputError: The store's folder cannot be made or written.
        """
        unfinished = self.folder / f"{_UNFINISHED}{backup_id}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            unfinished.mkdir(mode=0o700)
        except OSError as exc:
            raise InvalidInputError(
                f"the backup folder {self.folder} cannot be written: {exc.strerror}",
                hint="check owner, mode and free space, or name another folder",
            ) from exc
        try:
            yield unfinished
        finally:
            if unfinished.exists():
                shutil.rmtree(unfinished)

    def publish(self, unfinished: Path, backup: Backup) -> None:
        """Write the manifest last, make everything durable, and give the backup its name.

        Raises:
            ToolError: The disk is full or fails; nothing is published.
        """
        try:
            (unfinished / MANIFEST_NAME).write_text(to_json(backup), encoding="utf-8")
            for path in sorted(unfinished.rglob("*"), reverse=True):
                _sync(path)
            _sync(unfinished)
            unfinished.rename(self.folder / backup.id)
            _sync(self.folder)
        except OSError as exc:
            raise ToolError(
                f"backup {backup.id} could not be written to {self.folder}: {exc.strerror}; nothing was published",
                hint="free space there, then run the same again; older backups are untouched",
            ) from exc

    def path_of(self, backup: Backup) -> Path:
        """The folder of a published backup."""
        return self.folder / backup.id

    def read(self, backup_id: str) -> Backup:
        """The manifest of one backup.

        Raises:
            InvalidInputError: There is no such backup.
            BackupDamagedError: Its manifest is damaged.
        """
        path = self.folder / backup_id / MANIFEST_NAME
        # Only a name that the store itself lists: `..` and what is unfinished have manifests, too.
        if backup_id not in self.list_ids():
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


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
