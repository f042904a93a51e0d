"""A store that is a place in a bucket: keys `prefix/<backup id>/<path>`, the manifest written last."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from squizzle.backups.files import MANIFEST_NAME, NOTES_FOLDER
from squizzle.backups.manifest import from_json
from squizzle.backups.records import Backup
from squizzle.backups.s3.bucket import NOT_PUBLISHED, Bucket, Held
from squizzle.backups.s3.incoming import S3Incoming, read_interrupted
from squizzle.backups.s3.lease import REMOVED, UNFINISHED, Lease, mark, take_over
from squizzle.backups.s3.settings import S3Settings
from squizzle.backups.s3.uploads import Uploads
from squizzle.backups.store import manifest_of, refuse_sealed
from squizzle.backups.work_folder import (
    may_go,
    refuse_without_local_room,
    sweep_work_folders,
    work_folder,
    work_place,
)
from squizzle.errors import BackupDamagedError, InvalidInputError, ToolError
from squizzle.headway import Unit, stretch

_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_WORKERS = 4


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

    @property
    def work_folder(self) -> Path:
        """Where programs write (`TMPDIR`)."""
        return work_place()

    @property
    def work_copies(self) -> int:
        """As files."""
        return 1

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
            with work_folder() as work, Uploads(self.bucket) as uploads:
                incoming = S3Incoming(self.bucket, backup_id, work, lease, uploads)
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
    def fetch_stored(self, backup: Backup, *, only: Collection[str] | None = None) -> Iterator[Path]:
        """A local copy in a temporary folder, gone after the block.

        Raises:
            ToolError: The bucket cannot be read, or there is no room.
            BackupDamagedError: The bucket holds a name that leads out of the folder.
        """
        files = self._files(backup.id, only)
        with work_folder() as folder:
            refuse_without_local_room(f"backup {backup.id}", sum(held.size for held in files))
            total = sum(held.size for held in files)
            with (
                stretch(f"fetching {backup.id}", unit=Unit.BYTES, total=total) as headway,
                ThreadPoolExecutor(_WORKERS) as threads,
            ):
                list(threads.map(lambda held: self._fetch(held, folder, backup.id, headway.add), files))
            yield folder

    def _files(self, backup_id: str, only: Collection[str] | None) -> Sequence[Held]:
        if only is None:
            return [held for held in self.bucket.list(f"{backup_id}/") if _is_file(held.path)]
        with ThreadPoolExecutor(_WORKERS) as threads:
            found = threads.map(self.bucket.look, [f"{backup_id}/{path}" for path in only])
            return [held for held in found if held is not None]

    def _fetch(self, held: Held, folder: Path, backup_id: str, on_bytes: Callable[[int], None]) -> None:
        path = held.path.removeprefix(f"{backup_id}/")
        if {"", ".", ".."}.intersection(path.split("/")):
            raise BackupDamagedError(
                f"{held.path!r} in {self.address} cannot be a file of a backup",
                hint="find out who put it there; use another backup meanwhile",
            )
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            self.bucket.download(held, file, on_bytes=on_bytes)

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

    def list_names(self) -> tuple[str, ...]:
        """The same without a request for each: what is being written, or is no backup at all, is in there, too."""
        gone = {held.path.removeprefix(REMOVED) for held in self.bucket.list(REMOVED)}
        names = (name for name in self.bucket.folders() if _ID.fullmatch(name) and name not in gone)
        return tuple(sorted(names, reverse=True))

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
        """Remove what killed runs left: marks that nobody renewed for a lease, and local copies.

        What a run on this machine was publishing when it was killed is published first: it was whole (docs/adr/0021).
        """
        given_up: list[str] = []
        gone = [*sweep_work_folders(lambda work: self._finish(work, given_up)), *given_up]
        for kind in (UNFINISHED, REMOVED):
            for held in tuple(self.bucket.list(kind)):
                backup_id = held.path.removeprefix(kind)
                if _ID.fullmatch(backup_id) and take_over(self.bucket, held):
                    if self._clean(backup_id):
                        gone.append(held.path)
                    self.bucket.delete([held.path])
        return tuple(gone)

    def _finish(self, work: Path, given_up: list[str]) -> bool:
        """Publish what a killed run was publishing to this bucket, or clean it; whether its folder here may go."""
        found = read_interrupted(self.bucket, work)
        if found is None:
            return may_go(work)
        backup_id = found.backup.id
        try:
            lease = Lease(self.bucket, backup_id, inherited=found.token)
        except ToolError as exc:
            if isinstance(exc.__cause__, FileExistsError):  # published and cleaned, or given up by another machine
                return True
            raise
        try:
            with Uploads(self.bucket) as uploads:
                if self.bucket.look(manifest_of(backup_id)) is None:
                    S3Incoming(self.bucket, backup_id, work, lease, uploads, interrupted=found).publish(found.backup)
        except ToolError:  # said by what is returned; the backup is none, as if it had been cleaned at once
            given_up.append(UNFINISHED + backup_id)
        finally:
            lease.stop()
        self._clean(backup_id)
        lease.remove()
        return True

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
        """The texts of a folder, by name; what is no UTF-8 in one is replaced, so that its hash does not fit."""
        names = [held.path.removeprefix(f"{folder}/") for held in self.bucket.list(f"{folder}/")]
        return self._read_texts(folder, [name for name in names if "/" not in name and not name.startswith(".")])

    def _read_texts(self, folder: str, names: Sequence[str]) -> Mapping[str, str]:
        with ThreadPoolExecutor(_WORKERS) as threads:
            found = list(threads.map(lambda name: self.bucket.get(f"{folder}/{name}"), names))
        # None was removed since it was listed.
        return {name: text[0].decode(errors="replace") for name, text in zip(names, found, strict=True) if text}

    def remove_text(self, path: str) -> None:
        """Remove a text; nothing happens when there is none."""
        self.bucket.delete([path])

    def put_bytes(self, path: str, content: bytes) -> None:
        """Write a small file, replacing one of that name."""
        self.bucket.replace(path, content)

    def read_bytes(self, path: str) -> bytes | None:
        """A small file; None when there is none."""
        found = self.bucket.get(path)
        return None if found is None else found[0]

    def list_paths(self, folder: str) -> tuple[str, ...]:
        """The files in a folder and below it."""
        found = (held.path.removeprefix(f"{folder}/") for held in self.bucket.list(f"{folder}/"))
        return tuple(sorted(path for path in found if path and not path.endswith("/")))

    def remove_files(self, paths: Sequence[str]) -> None:
        """Remove small files, a thousand at once."""
        self.bucket.delete(paths)


def _is_file(path: str) -> bool:
    """Whether a path is that of a backup's file, not of its manifest or a note."""
    inside = path.partition("/")[2]
    return inside != MANIFEST_NAME and not inside.startswith(f"{NOTES_FOLDER}/")
