"""What every store of backups can do, whatever it is made of."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Protocol

from squizzle.backups.files import MANIFEST_NAME, NOTES_FOLDER
from squizzle.backups.manifest import manifest_hash
from squizzle.backups.records import Backup, BackupFile, PreviousBackup
from squizzle.errors import BackupDamagedError, KeyNotUsableError


class Incoming(Protocol):
    """One backup on its way into a store; nobody sees it before `publish`."""

    @property
    def folder(self) -> Path:
        """A local folder of its own, readable for us alone, where programs write files."""

    def stream(self, path: str, source: IO[bytes]) -> BackupFile:
        """Take in one file as it is made, in bounded memory; it is hashed on the way.

        Args:
            path: Its path within the backup, with `/`; not one that is in the folder.
            source: Read to its end. Whether its writer succeeded is the caller's to ask before `publish`.

        Raises:
            ToolError: The store is full or fails.
        """

    def describe(self) -> tuple[BackupFile, ...]:
        """Every file so far: those in the folder and those that were streamed, in the order of their paths."""

    def publish(self, backup: Backup) -> Backup:
        """Make every file durable, then write the manifest: from now on the backup exists.

        Returns:
            The backup as `read` gives it.

        Raises:
            ToolError: The store is full or fails, or has a backup of that id already; nothing is published.
        """


class BackupStore(Protocol):
    """Backups somewhere, each with its manifest. What is unfinished is invisible."""

    @property
    def address(self) -> str:
        """The store as a URL, without any secret."""

    @property
    def work_folder(self) -> Path | None:
        """Where `Incoming.folder` takes room until a backup is published; None when that is the store itself."""

    @property
    def work_copies(self) -> int:
        """How often a file may lie in the work folder at one time."""

    def receive(self, backup_id: str) -> AbstractContextManager[Incoming]:
        """Begin a backup; what was not published at the end is removed.

        Raises:
            InvalidInputError: The store cannot be written.
        """

    def list_ids(self) -> tuple[str, ...]:
        """Every published backup, newest first."""

    def list_names(self) -> tuple[str, ...]:
        """The same by one listing, with whatever else looks like one: `read_header` says whether it is published."""

    def read_header(self, backup_id: str) -> Backup:
        """The manifest of one backup as everybody can read it; of one that is not encrypted that is all of it.

        Raises:
            InvalidInputError: There is no such backup.
            BackupDamagedError: Its manifest is damaged.
        """

    def read(self, backup_id: str) -> Backup:
        """The whole manifest of one backup.

        Raises:
            InvalidInputError: There is no such backup.
            KeyNotUsableError: It is encrypted, and its key is not here.
            BackupDamagedError: Its manifest is damaged.
        """

    def fetch(self, backup: Backup, *, only: Collection[str] | None = None) -> AbstractContextManager[Path]:
        """A local folder with the backup's files; `check_files` says whether they are intact.

        It is gone after the block unless the store itself is a folder; nothing in it may be changed.

        Args:
            backup: As `read` gave it.
            only: Paths of the files that are needed, which may be the only ones there; None for all. One that is not in
                the store is not in the folder either.

        Raises:
            KeyNotUsableError: It is encrypted, and its key is not here.
            BackupDamagedError: A file cannot be decrypted.
            ToolError: The store cannot be read, or there is no room for a local copy.
        """

    def fetch_stored(self, backup: Backup, *, only: Collection[str] | None = None) -> AbstractContextManager[Path]:
        """The same with the files as they lie in the store, encrypted or not; needs no key.

        Args:
            backup: As `read_header` gave it.
            only: As for `fetch`, by the paths in the store.
        """

    def remove(self, backup_id: str) -> None:
        """Remove a backup, its manifest first: half a backup is none. Nothing happens when there is none.

        Raises:
            ToolError: The store refuses (a lock, a right) or fails; what is left is cleaned by `remove_leftovers`.
        """

    def remove_leftovers(self) -> tuple[str, ...]:
        """Remove what killed runs left, never what a living run is writing; returns what was removed."""

    def free_bytes(self) -> int | None:
        """Bytes that still fit; None where a store has no such limit."""

    def put_text(self, path: str, text: str) -> None:
        """Write a small text durably, replacing one of that name (`<backup id>/notes/…`, `removed/…`).

        Raises:
            ToolError: The store is full or fails; the former text stays.
        """

    def texts(self, folder: str) -> Mapping[str, str]:
        """The small texts in a folder, by their names in it; none when there is no such folder.

        What is no UTF-8 in one is replaced: the hash of a sealed text does not fit any more, and the others are read.

        Raises:
            BackupDamagedError: The disk or its rights do not let us read one.
        """

    def remove_text(self, path: str) -> None:
        """Remove a small text; nothing happens when there is none."""

    def put_bytes(self, path: str, content: bytes) -> None:
        """Write a small file that is no part of a backup durably, replacing one of that name (`sweeps/…`, `drills/…`).

        Args:
            path: Below the store, with `/`; no part of it begins with a dot.
            content: All of it; never encrypted by us.

        Raises:
            ToolError: The store is full or fails; the former file stays.
        """

    def read_bytes(self, path: str) -> bytes | None:
        """Such a file; None when there is none.

        Raises:
            ToolError: The store cannot be read.
        """

    def list_paths(self, folder: str) -> tuple[str, ...]:
        """The files in a folder and all below it, by their paths seen from it, in order; one listing, nothing is read.

        Raises:
            ToolError: The store cannot be read.
        """

    def remove_files(self, paths: Sequence[str]) -> None:
        """Remove such files; nothing happens for those that are not there.

        Raises:
            ToolError: The store refuses or fails; some may be left.
        """


def refuse_sealed(backup: Backup) -> None:
    """Refuse what needs a key when there is none at all.

    Raises:
        KeyNotUsableError: Names the key.
    """
    if backup.encryption:
        raise KeyNotUsableError(
            f"backup {backup.id} in {backup.store} is encrypted with the key {backup.encryption.get('key')},"
            " and no key is named here",
            hint="name it in squizzle.toml ([backups] key_file, key_env or kms_key) or in the block of the store",
        )


def notes_of(backup_id: str) -> str:
    """The folder of a backup's notes within its store."""
    return f"{backup_id}/{NOTES_FOLDER}"


def manifest_of(backup_id: str) -> str:
    """The path of a backup's manifest within its store."""
    return f"{backup_id}/{MANIFEST_NAME}"


def safe_name(database: str) -> str:
    """A database's name as it stands in the ids of its backups: ASCII letters, digits and `-`, at most 40."""
    return "".join(one if one.isalnum() and one.isascii() else "-" for one in database)[:40]


def previous_backup(store: BackupStore, database: str, system_identifier: str) -> PreviousBackup | None:
    """The newest backup of the same database, to be named by the next one.

    A damaged manifest is passed over: it must not stop new backups, and the check of the chain finds it.
    """
    for backup_id in store.list_ids():
        if f"-{safe_name(database)}-" not in backup_id:
            continue
        try:
            backup = store.read_header(backup_id)
        except BackupDamagedError:
            continue
        if (backup.database, backup.system_identifier) == (database, system_identifier):
            return PreviousBackup(id=backup.id, manifest_sha256=manifest_hash(backup))
    return None
