"""A store whose backups only their key can read, made of any other store: it gets what was encrypted here."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import IO, cast

from squizzle.backups.encryption.keys import DataKey, KeyRing
from squizzle.backups.encryption.stream import DecryptingStream, EncryptingStream
from squizzle.backups.files import describe_file, paths_of
from squizzle.backups.manifest import from_json, to_json
from squizzle.backups.records import Backup, BackupFile
from squizzle.backups.store import BackupStore, Incoming
from squizzle.backups.work_folder import refuse_without_local_room, sweep_work_folders, work_folder, work_place
from squizzle.errors import BackupDamagedError, ToolError

SEALED_MANIFEST = "manifest.sealed"
"""The whole manifest, encrypted: what the manifest that everybody can read leaves out."""

ENCRYPTED = ".enc"
_WORKERS = 4
_COPY_BYTES = 1 << 20
# So much of a bucket's backup lies here twice, encrypted and plain, while it is fetched; a larger file does alone.
_BATCH_BYTES = 256 << 20


class EncryptedIncoming:
    """A backup that is encrypted on its way into another store; what programs write lies in a folder here until then.

    Args:
        inner: Its way into the other store.
        backup_id: Which.
        key: Its data key.
        folder: The folder here.
    """

    def __init__(self, inner: Incoming, backup_id: str, key: DataKey, folder: Path) -> None:
        self._inner = inner
        self._id = backup_id
        self._key = key
        self._folder = folder
        self._streamed: dict[str, BackupFile] = {}

    @property
    def folder(self) -> Path:
        """Where programs write."""
        return self._folder

    def stream(self, path: str, source: IO[bytes]) -> BackupFile:
        """Encrypt one file as it is made, without a local copy; see `Incoming.stream`."""
        if path in self._streamed or (self._folder / path).exists():
            raise ToolError(
                f"{path} could not be written: File exists; nothing was published",
                hint="a kind of backup wrote the same file twice: report it",
            )
        stream = self._encrypting(path, source)
        self._inner.stream(path + ENCRYPTED, cast("IO[bytes]", stream))
        self._streamed[path] = BackupFile(path=path, size_bytes=stream.size_bytes, sha256=stream.sha256)
        return self._streamed[path]

    def describe(self) -> tuple[BackupFile, ...]:
        """Every file so far, as it is without encryption."""
        found = [describe_file(path, self._folder) for path in paths_of(self._folder)]
        return tuple(sorted((*found, *self._streamed.values()), key=lambda file: PurePosixPath(file.path)))

    def publish(self, backup: Backup) -> Backup:
        """Encrypt the files of the folder and the manifest, and publish what comes out; see `Incoming.publish`.

        What comes out lies whole in the other store's folder before anything is sent, so that a killed run is finished
        as one without encryption is. Each plain file goes as soon as it is encrypted.
        """
        with ThreadPoolExecutor(_WORKERS) as threads:
            sent = tuple(threads.map(self._replace_plain, paths_of(self._folder)))
        if {*sent, *self._streamed.values()} != set(backup.files):
            raise ToolError(
                f"the files of backup {backup.id} changed while they were encrypted; nothing was published",
                hint=f"find out who else writes to {self._folder}, then run the same again",
            )
        opened = replace(backup, encryption=self._key.for_manifest)
        self._write(SEALED_MANIFEST, self._encrypting(SEALED_MANIFEST, io.BytesIO(to_json(opened).encode())))
        opened = replace(opened, stored_files=self._inner.describe())
        self._inner.publish(opened.as_stored)
        return opened

    def _replace_plain(self, path: Path) -> BackupFile:
        name = path.relative_to(self._folder).as_posix()
        with path.open("rb") as file:
            stream = self._encrypting(name, file)
            self._write(name + ENCRYPTED, stream)
        path.unlink()
        return BackupFile(path=name, size_bytes=stream.size_bytes, sha256=stream.sha256)

    def _write(self, path: str, stream: EncryptingStream) -> None:
        target = self._inner.folder / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                shutil.copyfileobj(cast("IO[bytes]", stream), file, _COPY_BYTES)
        except OSError as exc:
            raise ToolError(
                f"{path} could not be encrypted to {self._inner.folder}: {exc.strerror}; nothing was published",
                hint="check the disk, or set TMPDIR to a folder with room, then run the same again",
            ) from exc

    def _encrypting(self, path: str, source: IO[bytes]) -> EncryptingStream:
        return EncryptingStream(source, self._key.plain, place=_place(self._id, path))


class EncryptedStore:
    """Backups in another store, encrypted. Those that lie there unencrypted can be read, too.

    Args:
        inner: The other store.
        keys: Master keys.
    """

    def __init__(self, inner: BackupStore, keys: KeyRing) -> None:
        self.inner = inner
        self.keys = keys

    @property
    def address(self) -> str:
        """That of the other store."""
        return self.inner.address

    @property
    def work_folder(self) -> Path:
        """Where programs write (`TMPDIR`): nothing that is not encrypted reaches the store, not for a moment."""
        return work_place()

    @property
    def work_copies(self) -> int:
        """As files, and encrypted unless the other store is a folder."""
        return 1 + self.inner.work_copies

    @contextmanager
    def receive(self, backup_id: str) -> Iterator[EncryptedIncoming]:
        """Begin a backup with a data key of its own; see `BackupStore.receive`.

        Raises:
            KeyNotUsableError: There is no master key to be had; nothing was begun.
        """
        key = self.keys.new_data_key(backup_id)
        with self.inner.receive(backup_id) as incoming, work_folder() as folder:
            yield EncryptedIncoming(incoming, backup_id, key, folder)

    def list_ids(self) -> tuple[str, ...]:
        """Every published backup, newest first."""
        return self.inner.list_ids()

    def list_names(self) -> tuple[str, ...]:
        """As the store's."""
        return self.inner.list_names()

    def read_header(self, backup_id: str) -> Backup:
        """What everybody can read of a manifest; see `BackupStore.read_header`."""
        return self.inner.read_header(backup_id)

    def read(self, backup_id: str) -> Backup:
        """The manifest of one backup, opened with its key, and compared with what everybody can read of it.

        Raises:
            KeyNotUsableError: Its key is not here.
            BackupDamagedError: It was changed by somebody who does not have the key, or is damaged.
        """
        header = self.inner.read_header(backup_id)
        if not header.encryption:
            return header
        source = f"{SEALED_MANIFEST} of backup {backup_id} in {self.address}"
        key = self.keys.data_key(header.encryption, backup_id)
        with self.inner.fetch_stored(header, only=(SEALED_MANIFEST,)) as folder:
            path = folder / SEALED_MANIFEST
            if not path.is_file():
                raise BackupDamagedError(f"{source} is missing", hint="use another backup")
            with path.open("rb") as file, _decrypting(file, key, backup_id, SEALED_MANIFEST) as stream:
                text = stream.read().decode()
        opened = replace(from_json(text, source=source), stored_files=header.files)
        if opened.as_stored != header:
            raise BackupDamagedError(
                f"the manifest of backup {backup_id} in {self.address} was changed by somebody without its key",
                hint="use another backup; find out who can write there",
            )
        return opened

    @contextmanager
    def fetch(self, backup: Backup, *, only: Collection[str] | None = None) -> Iterator[Path]:
        """A decrypted local copy in a temporary folder, gone after the block.

        Raises:
            KeyNotUsableError: Its key is not here.
            BackupDamagedError: Names every file that is missing or cannot be decrypted.
            ToolError: The store cannot be read, or there is no room here.
        """
        if not backup.encryption:
            with self.inner.fetch(backup, only=only) as folder:
                yield folder
            return
        key = self.keys.data_key(backup.encryption, backup.id)
        wanted = [file for file in backup.files if only is None or file.path in only]
        with work_folder() as folder:
            refuse_without_local_room(f"backup {backup.id}", sum(file.size_bytes for file in wanted))
            problems: list[str] = []
            for batch in _batches(wanted):
                with self.inner.fetch_stored(backup.as_stored, only=[one.path + ENCRYPTED for one in batch]) as stored:
                    problems += _decrypt_all(batch, stored, folder, key, backup.id)
            if problems:
                raise BackupDamagedError(
                    f"backup {backup.id} in {self.address} is damaged: {'; '.join(problems)}", hint="use another backup"
                )
            yield folder

    @contextmanager
    def fetch_stored(self, backup: Backup, *, only: Collection[str] | None = None) -> Iterator[Path]:
        """The files as they lie in the store, encrypted."""
        with self.inner.fetch_stored(backup, only=only) as folder:
            yield folder

    def remove(self, backup_id: str) -> None:
        """Remove a backup; it needs no key."""
        self.inner.remove(backup_id)

    def remove_leftovers(self) -> tuple[str, ...]:
        """Remove what killed runs left there and here."""
        return (*sweep_work_folders(), *self.inner.remove_leftovers())

    def free_bytes(self) -> int | None:
        """Of the other store."""
        return self.inner.free_bytes()

    def put_text(self, path: str, text: str) -> None:
        """Write a small text; notes are not encrypted."""
        self.inner.put_text(path, text)

    def texts(self, folder: str) -> Mapping[str, str]:
        """The small texts in a folder."""
        return self.inner.texts(folder)

    def remove_text(self, path: str) -> None:
        """Remove a small text."""
        self.inner.remove_text(path)

    def put_bytes(self, path: str, content: bytes) -> None:
        """Write a small file; like notes, it is not encrypted."""
        self.inner.put_bytes(path, content)

    def read_bytes(self, path: str) -> bytes | None:
        """A small file."""
        return self.inner.read_bytes(path)

    def list_paths(self, folder: str) -> tuple[str, ...]:
        """The files in a folder and below it."""
        return self.inner.list_paths(folder)

    def remove_files(self, paths: Sequence[str]) -> None:
        """Remove small files."""
        self.inner.remove_files(paths)


def _decrypt_all(files: Sequence[BackupFile], stored: Path, into: Path, key: bytes, backup_id: str) -> list[str]:
    """Decrypt some files; gives a sentence for each that cannot be."""

    def decrypt(file: BackupFile) -> str:
        source = stored / (file.path + ENCRYPTED)
        if not source.is_file():
            return f"{file.path} is missing"
        target = into / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with (
                source.open("rb") as sealed,
                _decrypting(sealed, key, backup_id, file.path) as stream,
                target.open("xb") as plain,
            ):
                shutil.copyfileobj(stream, plain, _COPY_BYTES)
        except BackupDamagedError as exc:
            return exc.message
        except OSError as exc:
            raise ToolError(
                f"{file.path} of backup {backup_id} could not be decrypted to {into}: {exc.strerror}",
                hint="free space there, or set TMPDIR to a folder with room",
            ) from exc
        return ""

    with ThreadPoolExecutor(min(_WORKERS, os.cpu_count() or 1)) as threads:
        return [problem for problem in threads.map(decrypt, files) if problem]


def _decrypting(source: IO[bytes], key: bytes, backup_id: str, path: str) -> io.BufferedReader:
    stream = DecryptingStream(source, key, place=_place(backup_id, path), what=f"{path} of backup {backup_id}")
    return io.BufferedReader(stream, _COPY_BYTES)


def _batches(files: Sequence[BackupFile]) -> Iterator[Sequence[BackupFile]]:
    batch: list[BackupFile] = []
    size = 0
    for file in files:
        if batch and size + file.size_bytes > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += file.size_bytes
    if batch:
        yield batch


def _place(backup_id: str, path: str) -> str:
    return f"{backup_id}/{path}"
