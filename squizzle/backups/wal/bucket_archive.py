"""An archive of the write-ahead log in a bucket: keys `prefix/wal/<system identifier>/<name>`."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import IO, cast

from squizzle.backups.s3.bucket import Bucket
from squizzle.backups.s3.uploads import Uploads
from squizzle.backups.wal.archive import WAL_FOLDER, ArchivedFile
from squizzle.errors import ToolError

_WORKERS = 4


class BucketArchive:
    """An archive in a bucket. An object appears whole, and only where none is: the service sees to both.

    Args:
        bucket: Where.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    @property
    def address(self) -> str:
        """The store as a URL, without options."""
        return self._bucket.address

    def put_new(self, system_identifier: str, name: str, source: IO[bytes]) -> str:
        """Store a file under a name that is free; see `WalArchive.put_new`.

        What is there already with the same content counts as stored by us: an answer may have been lost.
        """
        path = _path(system_identifier, name)
        try:
            with Uploads(self._bucket) as uploads:
                return uploads.upload(path, name, source).sha256
        except ToolError as exc:
            with contextlib.suppress(ToolError):  # the first error stays the error; the lifecycle removes them, too
                for found, upload in tuple(self._bucket.unfinished_parts(path)):
                    self._bucket.drop_parts(found, upload)
            if isinstance(exc.__cause__, FileExistsError):
                raise FileExistsError(path) from exc
            raise

    def open(self, system_identifier: str, name: str) -> AbstractContextManager[IO[bytes]]:
        """Read a file, from a temporary copy; see `WalArchive.open`."""
        path = _path(system_identifier, name)
        held = self._bucket.look(path)
        if held is None:
            raise FileNotFoundError(path)
        with contextlib.ExitStack() as stack:
            copy = stack.enter_context(tempfile.TemporaryFile())
            self._bucket.download(held, cast("IO[bytes]", copy))
            copy.seek(0)
            stack.pop_all()
        return cast("AbstractContextManager[IO[bytes]]", copy)

    def files(self, system_identifier: str, prefix: str = "") -> tuple[ArchivedFile, ...]:
        """The files whose names begin so; see `WalArchive.files`."""
        place = _path(system_identifier, "")
        found = (
            ArchivedFile(name=held.path.removeprefix(place), size_bytes=held.size, stored_at=held.modified_at)
            for held in self._bucket.list(place + prefix)
        )
        return tuple(sorted(found, key=lambda one: one.name))

    def clusters(self) -> tuple[str, ...]:
        """The system identifiers that there are files of."""
        return tuple(sorted(self._bucket.folders(f"{WAL_FOLDER}/")))

    def remove(self, system_identifier: str, names: Sequence[str]) -> None:
        """Remove files in this order; see `WalArchive.remove`. Nothing is removed when one of them is locked."""
        paths = [_path(system_identifier, name) for name in names]
        with ThreadPoolExecutor(_WORKERS) as threads:
            locked = [
                held
                for held in threads.map(self._bucket.look, paths)
                if held and held.locked_until and held.locked_until > datetime.now(UTC)
            ]
        if locked:
            raise ToolError(
                f"{len(locked)} of {len(paths)} files of the log in {self.address} are locked, {locked[0].path} until"
                f" {locked[0].locked_until:%Y-%m-%d %H:%M} UTC; none of them was removed",
                hint="wait until then: that is what the lock is for",
            )
        self._bucket.delete(paths)


def _path(system_identifier: str, name: str) -> str:
    return f"{WAL_FOLDER}/{system_identifier}/{name}"
