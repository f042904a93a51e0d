"""A backup on its way into a bucket, and what is needed to go on with it when its run was killed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from squizzle.backups.files import describe_file, paths_of
from squizzle.backups.manifest import from_json, to_json
from squizzle.backups.records import Backup, BackupFile
from squizzle.backups.s3.bucket import NOT_PUBLISHED, Bucket
from squizzle.backups.s3.lease import Lease
from squizzle.backups.s3.uploads import Uploads, described_as_stored
from squizzle.backups.sealed import open_sealed, seal
from squizzle.backups.store import manifest_of
from squizzle.backups.work_folder import PUBLISHING
from squizzle.errors import BackupDamagedError, ToolError
from squizzle.headway import Unit, stretch

_WORKERS = 4
_BUG = "a kind of backup wrote the same file twice: report it"
_FILES = "files"


@dataclass(frozen=True, kw_only=True, slots=True)
class Interrupted:
    """A backup whose run was killed while it published: everything was there, not everything was sent.

    Attributes:
        backup: Its manifest.
        token: Of its right to write it.
        streamed: Files that had been streamed into the bucket before.
    """

    backup: Backup
    token: str
    streamed: tuple[BackupFile, ...]


def read_interrupted(bucket: Bucket, work: Path) -> Interrupted | None:
    """What a work folder holds that was on its way into this very bucket; None for anything else."""
    try:
        document = open_sealed((work / PUBLISHING).read_text(encoding="utf-8"), str(work))
        if document["place"] != _place(bucket):
            return None
        return Interrupted(
            backup=from_json(document["manifest"], source=str(work)),
            token=document["token"],
            streamed=tuple(BackupFile(**one) for one in document["streamed"]),
        )
    except (OSError, UnicodeDecodeError, BackupDamagedError, KeyError, TypeError):  # none, or cut: not to be finished
        return None


def _place(bucket: Bucket) -> list[str | None]:
    return [bucket.address, bucket.settings.endpoint, bucket.settings.region]


class S3Incoming:
    """A backup on its way into a bucket: streams go there at once, files of the folder when it is published.

    Args:
        bucket: Where to.
        backup_id: Which.
        work: A local folder.
        lease: The right to write it.
        uploads: Threads and memory.
        interrupted: What the folder holds already; None when it is empty.
    """

    def __init__(
        self,
        bucket: Bucket,
        backup_id: str,
        work: Path,
        lease: Lease,
        uploads: Uploads,
        *,
        interrupted: Interrupted | None = None,
    ) -> None:
        self._bucket = bucket
        self._id = backup_id
        self._work = work
        self._folder = work / _FILES
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._lease = lease
        self._uploads = uploads
        self._resumes = interrupted is not None
        self._streamed = {file.path: file for file in interrupted.streamed} if interrupted else {}
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

    def publish(self, backup: Backup) -> Backup:
        """Send the files of the folder, look at what lies there, and write the manifest; see `Incoming.publish`."""
        if not self._resumes:
            self._note(backup)
        paths = paths_of(self._folder)
        total = sum(path.stat().st_size for path in paths)
        with stretch(f"sending {self._id}", unit=Unit.BYTES, total=total) as headway:
            self._uploads.on_sent = headway.add
            with ThreadPoolExecutor(_WORKERS) as threads:
                sent = tuple(threads.map(self._send, paths))
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
        return backup

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
        key = f"{self._id}/{name}"
        there = self._bucket.look(key) if self._resumes else None
        if there is not None:
            file, checksum = described_as_stored(path, name)
            if (there.size, there.checksum) == (file.size_bytes, checksum):
                return file
        with path.open("rb") as source:
            return self._uploads.upload(key, name, source, resume=self._resumes)

    def _note(self, backup: Backup) -> None:
        """Write down what is about to be published, for whoever comes after us if we are killed."""
        document = {
            "place": _place(self._bucket),
            "token": self._lease.token,
            "manifest": to_json(backup),
            "streamed": [asdict(file) for file in self._streamed.values()],
        }
        (self._work / PUBLISHING).write_text(seal(document), encoding="utf-8")
