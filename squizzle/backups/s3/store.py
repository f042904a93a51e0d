"""A store that is a place in a bucket: keys `prefix/<backup id>/<path>`, the manifest written last."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO

from squizzle.backups.files import MANIFEST_NAME, NOTES_FOLDER, describe_file, paths_of
from squizzle.backups.locked_folder import scratch_folder
from squizzle.backups.manifest import from_json, to_json
from squizzle.backups.records import Backup, BackupFile
from squizzle.backups.s3.bucket import NOT_PUBLISHED, Bucket, Held
from squizzle.backups.s3.lease import REMOVED, UNFINISHED, Lease, mark, take_over
from squizzle.backups.s3.settings import S3Settings
from squizzle.backups.s3.uploads import Uploads
from squizzle.backups.store import manifest_of
from squizzle.errors import BackupDamagedError, InvalidInputError, ToolError

_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_WORKERS = 4
_BUG = "a kind of backup wrote the same file twice: report it"


class S3Incoming:
    """A backup on its way into a bucket: streams go there at once, files of the folder when it is published.

    Args:
        bucket: Where to.
        backup_id: Which.
        folder: A local folder.
        lease: The right to write it.
        uploads: Threads and memory.
    """

    def __init__(self, bucket: Bucket, backup_id: str, folder: Path, lease: Lease, uploads: Uploads) -> None:
        self._bucket = bucket
        self._id = backup_id
        self._folder = folder
        self._lease = lease
        self._uploads = uploads
        self._streamed: dict[str, BackupFile] = {}
        self.is_published = False

    @property
    def folder(self) -> Path:
        """Where programs write."""
        return self._folder

    def stream(self, path: str, source: IO[bytes]) -> BackupFile:
        """Send one file as it is made, without a local copy; see `Incoming.stream`."""
        if path in self._streamed or (self._folder / path).exists():
            raise ToolError(f"{path} could not be written: File exists; {NOT_PUBLISHED}", hint=_BUG)
        self._streamed[path] = self._uploads.upload(f"{self._id}/{path}", path, source)
        return self._streamed[path]

    def describe(self) -> tuple[BackupFile, ...]:
        """Every file so far; what was streamed is not read again."""
        found = [describe_file(path, self._folder) for path in paths_of(self._folder)]
        return tuple(sorted((*found, *self._streamed.values()), key=lambda file: PurePosixPath(file.path)))

    def publish(self, backup: Backup) -> None:
        """Send the files of the folder, look at what lies there, and write the manifest; see `Incoming.publish`."""
        with ThreadPoolExecutor(_WORKERS) as threads:
            sent = tuple(threads.map(self._send, paths_of(self._folder)))
        expected = {file.path: file for file in backup.files}
        changed = [file.path for file in sent if expected.get(file.path) not in {None, file}]
        sizes = {held.path.removeprefix(f"{self._id}/"): held.size for held in self._bucket.list(f"{self._id}/")}
        if changed or sizes != {file.path: file.size_bytes for file in (*sent, *self._streamed.values())}:
            raise ToolError(
                f"what lies in {self._bucket.address} is not what was sent"
                f" ({', '.join(changed) or 'files are missing or others are there'}); {NOT_PUBLISHED}",
                hint="find out who else writes there, then run the same again",
            )
        self._lease.renew()
        self._put_manifest(to_json(backup).encode())
        self.is_published = True

    def _put_manifest(self, manifest: bytes) -> None:
        """Write it; when that seems to have failed, what lies there decides whether the backup is published."""
        path = manifest_of(self._id)
        try:
            self._bucket.put(path, manifest, is_file=True)
        except ToolError as exc:
            try:
                found = self._bucket.get(path)
                if found is not None and found[0] != manifest:
                    self._bucket.delete([path])  # nobody else writes this id while the lease is ours
            except ToolError:
                what = exc.message.removesuffix(f"; {NOT_PUBLISHED}")
                raise ToolError(
                    f"{what}; whether backup {self._id} was published is not known",
                    hint=f"list the store when it answers again: if the backup is there, it is whole. {exc.hint}",
                ) from exc
            if found is None or found[0] != manifest:
                raise

    def _send(self, path: Path) -> BackupFile:
        name = path.relative_to(self._folder).as_posix()
        with path.open("rb") as file:
            return self._uploads.upload(f"{self._id}/{name}", name, file)


class S3Store:
    """Backups in a bucket.

    What is being written or removed has a mark (`.unfinished-<id>`, `.removed-<id>`) until that is done; only what has
    one is ever cleaned, so other things in the bucket are safe. Programs write into a temporary folder here (`TMPDIR`).

    Args:
        settings: Where the bucket is.

    Raises:
        ToolError: boto3 cannot use the settings.
    """

    def __init__(self, settings: S3Settings) -> None:
        self.bucket = Bucket(settings)

    @property
    def address(self) -> str:
        """The store as a URL, without options."""
        return self.bucket.address

    @contextmanager
    def receive(self, backup_id: str) -> Iterator[S3Incoming]:
        """A local folder and a way into the bucket; what was sent is removed again unless it was published.

        Raises:
            InvalidInputError: The bucket cannot be written.
            ToolError: There is a backup of that id already, or it is being written.
        """
        lease = self._lease(backup_id)
        is_done = False
        try:
            with scratch_folder() as folder, Uploads(self.bucket) as uploads:
                incoming = S3Incoming(self.bucket, backup_id, folder, lease, uploads)
                if self.bucket.look(manifest_of(backup_id)) is not None:
                    raise ToolError(
                        f"there is a backup {backup_id} in {self.address} already; {NOT_PUBLISHED}",
                        hint="run the same again: it takes a new name",
                    )
                yield incoming
            is_done = True
        finally:
            lease.stop()
            try:
                self._clean(backup_id)
                lease.remove()
            except ToolError:
                # Then the mark stays, and `remove_leftovers` cleans after the lease. The first error stays the error.
                if is_done and not incoming.is_published:
                    raise

    def _lease(self, backup_id: str) -> Lease:
        try:
            return Lease(self.bucket, backup_id)
        except ToolError as exc:
            if isinstance(exc.__cause__, FileExistsError):
                raise
            raise InvalidInputError(exc.message, hint=exc.hint) from exc

    @contextmanager
    def fetch(self, backup: Backup) -> Iterator[Path]:
        """A local copy in a temporary folder, gone after the block.

        Raises:
            ToolError: The bucket cannot be read, or there is no room.
            BackupDamagedError: The bucket holds a name that leads out of the folder.
        """
        files = [held for held in self.bucket.list(f"{backup.id}/") if _is_file(held.path)]
        needed = sum(held.size for held in files)
        with scratch_folder() as folder:
            free = shutil.disk_usage(folder).free
            if free < needed:
                raise ToolError(
                    f"backup {backup.id} has {needed:,} bytes, but {free:,} are free in {folder.parent}",
                    hint="free space there, or set TMPDIR to a folder with room",
                )
            with ThreadPoolExecutor(_WORKERS) as threads:
                list(threads.map(lambda held: self._fetch(held, folder, backup.id), files))
            yield folder

    def _fetch(self, held: Held, folder: Path, backup_id: str) -> None:
        path = held.path.removeprefix(f"{backup_id}/")
        if {"", ".", ".."}.intersection(path.split("/")):
            raise BackupDamagedError(
                f"{held.path!r} in {self.address} cannot be a file of a backup",
                hint="find out who put it there; use another backup meanwhile",
            )
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            self.bucket.download(held, file)

    def read(self, backup_id: str) -> Backup:
        """The manifest of one backup.

        Raises:
            InvalidInputError: There is no such backup.
            BackupDamagedError: Its manifest is damaged.
            ToolError: The bucket cannot be read.
        """
        source = f"{self.address}/{manifest_of(backup_id)}"
        found = self.bucket.get(manifest_of(backup_id)) if _ID.fullmatch(backup_id) else None
        if found is None:
            raise InvalidInputError(f"there is no backup {backup_id!r} in {self.address}", hint="list the store")
        try:
            backup = from_json(found[0].decode(), source=source)
        except UnicodeDecodeError as exc:
            raise BackupDamagedError(f"{source} cannot be read: {exc}", hint="use another backup") from exc
        if backup.id != backup_id:
            raise BackupDamagedError(
                f"{source} is the manifest of backup {backup.id!r}, expected {backup_id!r}",
                hint="give it its place back; the manifest belongs to the files beside it",
            )
        return backup

    def list_ids(self) -> tuple[str, ...]:
        """Every published backup, newest first."""
        names = [name for name in self.bucket.folders() if _ID.fullmatch(name)]
        with ThreadPoolExecutor(_WORKERS) as threads:
            found = list(threads.map(lambda name: self.bucket.look(manifest_of(name)), names))
        return tuple(sorted((name for name, held in zip(names, found, strict=True) if held), reverse=True))

    def remove(self, backup_id: str) -> None:
        """Remove a backup, its manifest first. Nothing happens when there is none.

        Raises:
            ToolError: It is locked, or the service refuses or fails.
        """
        held = self.bucket.look(manifest_of(backup_id)) if _ID.fullmatch(backup_id) else None
        if held is None:
            return
        if held.locked_until is not None and held.locked_until > datetime.now(UTC):
            raise ToolError(
                f"backup {backup_id} in {self.address} is locked until {held.locked_until:%Y-%m-%d %H:%M} UTC;"
                " nothing was removed",
                hint="wait until then: that is what the lock is for",
            )
        self.bucket.put_text(REMOVED + backup_id, mark().decode())
        self.bucket.delete([held.path])
        self._clean(backup_id)
        self.bucket.delete([REMOVED + backup_id])

    def remove_leftovers(self) -> tuple[str, ...]:
        """Remove what killed runs left: what has a mark that nobody renewed for the time of a lease."""
        gone = []
        for kind in (UNFINISHED, REMOVED):
            for held in tuple(self.bucket.list(kind)):
                if take_over(self.bucket, held):
                    if self._clean(held.path.removeprefix(kind)):
                        gone.append(held.path)
                    self.bucket.delete([held.path])
        return tuple(gone)

    def _clean(self, backup_id: str) -> bool:
        """Remove everything of a backup that has no manifest; whether it had none."""
        if self.bucket.look(manifest_of(backup_id)) is not None:
            return False  # published though its writer could not know, or not removed after all
        for path, upload in tuple(self.bucket.unfinished_parts(f"{backup_id}/")):
            self.bucket.drop_parts(path, upload)
        self.bucket.delete([held.path for held in self.bucket.list(f"{backup_id}/")])
        return True

    def free_bytes(self) -> None:
        """A bucket has no limit."""
        return

    def put_text(self, path: str, text: str) -> None:
        """Write a small text, replacing one of that name."""
        self.bucket.put_text(path, text)

    def texts(self, folder: str) -> Mapping[str, str]:
        """The texts of a folder, by name.

        Raises:
            BackupDamagedError: One cannot be read.
        """
        names = [held.path.removeprefix(f"{folder}/") for held in self.bucket.list(f"{folder}/")]
        return self._read_texts(folder, [name for name in names if "/" not in name and not name.startswith(".")])

    def _read_texts(self, folder: str, names: Sequence[str]) -> Mapping[str, str]:
        with ThreadPoolExecutor(_WORKERS) as threads:
            found = list(threads.map(lambda name: self.bucket.get(f"{folder}/{name}"), names))
        texts = {}
        for name, text in zip(names, found, strict=True):
            if text is None:  # removed since it was listed
                continue
            try:
                texts[name] = text[0].decode()
            except UnicodeDecodeError as exc:
                raise BackupDamagedError(
                    f"{self.address}/{folder}/{name} cannot be read: {exc}",
                    hint="move it away; the backup itself is not concerned",
                ) from exc
        return texts

    def remove_text(self, path: str) -> None:
        """Remove a text; nothing happens when there is none."""
        self.bucket.delete([path])


def _is_file(path: str) -> bool:
    """Whether a path is that of a backup's file, not of its manifest or a note."""
    inside = path.partition("/")[2]
    return inside != MANIFEST_NAME and not inside.startswith(f"{NOTES_FOLDER}/")
