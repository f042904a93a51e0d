"""Streams and files into a bucket: in parts, in parallel, in bounded memory, hashed on the way."""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from squizzle.backups.records import BackupFile
from squizzle.backups.s3.bucket import NOT_PUBLISHED, Bucket
from squizzle.backups.s3.parts import Part, checksum_of_parts, checksum_text
from squizzle.errors import ToolError

_MIB = 1 << 20
PART = 16 * _MIB
"""Smallest size of a part but the last; S3 wants 5 MiB or more."""

MOST_PARTS = 10_000
"""Of one object (Amazon S3 User Guide, "Multipart upload limits")."""

MEMORY = 128 * _MIB
"""All parts that are held at once, whatever is uploaded at the same time."""

# How long a stream becomes nobody knows, so parts grow: 31 GiB in parts of 16 MiB, 125 GiB of 64, 750 GiB of 128.
_GROWS_AFTER = ((2_000, PART), (4_000, 4 * PART), (MOST_PARTS, 8 * PART))
_WORKERS = 4


class Uploads:
    """Uploads that share threads and memory; a context manager that ends its threads.

    Args:
        bucket: Where to.

    Attributes:
        on_sent: Called with the number of bytes whenever some more have arrived.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._memory = _Memory(MEMORY)
        self.on_sent: Callable[[int], None] = lambda _more: None
        self._threads = ThreadPoolExecutor(_WORKERS, thread_name_prefix="squizzle-s3")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    def upload(self, key: str, path: str, source: IO[bytes], *, resume: bool = False) -> BackupFile:
        """Write everything that can be read; one object, which appears whole or not at all.

        Args:
            key: Its path in the bucket.
            path: Its path within the backup, for the manifest.
            source: Read to its end.
            resume: Go on with what a killed run began under this key: parts that are there are not sent again.

        Raises:
            ToolError: The service fails, or the stream is too long. Parts that were sent stay until `receive` ends.
            OSError: The source cannot be read.
        """
        first = self._next(source, 1)
        if len(first) < part_size(1):
            try:
                self._bucket.put(key, bytes(first), is_file=True)
                self.on_sent(len(first))
            finally:
                self._memory.give(part_size(1))
            return BackupFile(path=path, size_bytes=len(first), sha256=hashlib.sha256(first).hexdigest())
        there: dict[int, Part] = {}
        try:
            begun = self._bucket.parts_of(key) if resume else None
            upload, there = begun or (self._bucket.begin_parts(key), {})
        except BaseException:
            self._memory.give(part_size(1))
            raise
        return self._in_parts(key, upload, path, first, source, there)

    def _in_parts(
        self, key: str, upload: str, path: str, data: bytearray, source: IO[bytes], there: Mapping[int, Part]
    ) -> BackupFile:
        digest = hashlib.sha256()
        size = 0
        sent: list[tuple[str, bytes]] = []
        pending: deque[Future[tuple[str, bytes]]] = deque()
        try:
            number = 1
            while data:
                pending.append(self._send(key, upload, number, data, there.get(number)))
                digest.update(data)
                size += len(data)
                while pending and pending[0].done():
                    sent.append(pending.popleft().result())
                number += 1
                data = self._next(source, number)
            self._memory.give(part_size(number))
            sent += [future.result() for future in pending]
            self._bucket.finish_parts(key, upload, sent, size)
        except BaseException:
            # No part may still be on its way when `receive` removes what was sent.
            for future in pending:
                future.cancel()
            wait(pending)
            raise
        return BackupFile(path=path, size_bytes=size, sha256=digest.hexdigest())

    def _send(
        self, key: str, upload: str, number: int, data: bytearray, there: Part | None
    ) -> Future[tuple[str, bytes]]:
        """Send a part by another thread; its memory is given back when it was sent or will not be."""
        future = self._threads.submit(self._bucket.put_part, key, upload, number, data, there)
        future.add_done_callback(lambda _: self.on_sent(len(data)))
        future.add_done_callback(lambda _: self._memory.give(part_size(number)))
        return future

    def _next(self, source: IO[bytes], number: int) -> bytearray:
        """The next part, empty at the end; memory for it is taken."""
        room = part_size(number)
        self._memory.take(room)
        data = bytearray()
        try:
            # A pipe gives less at a time than it is asked for.
            while len(data) < room and (chunk := source.read(min(room - len(data), _MIB))):
                data += chunk
            if data and number > MOST_PARTS:
                raise _too_long()  # noqa: TRY301 - the memory is given back in one place
        except BaseException:
            self._memory.give(room)
            raise
        return data


def described_as_stored(path: Path, name: str) -> tuple[BackupFile, str]:
    """A local file, and the checksum that S3 has when `upload` has sent it.

    Raises:
        OSError: It cannot be read.
    """
    whole, size = hashlib.sha256(), 0
    parts: list[bytes] = []
    with path.open("rb") as file:
        while data := file.read(part_size(len(parts) + 1)):
            whole.update(data)
            parts.append(hashlib.sha256(data).digest())
            size += len(data)
    described = BackupFile(path=name, size_bytes=size, sha256=whole.hexdigest())
    if size < part_size(1):
        return described, checksum_text(whole.digest())
    return described, checksum_of_parts(parts)


def part_size(number: int) -> int:
    """How large a part is, by its number from 1, in bytes."""
    return next((size for last, size in _GROWS_AFTER if number <= last), PART)


def _too_long() -> ToolError:
    return ToolError(
        f"a file has more than {MOST_PARTS:,} parts, more than a bucket takes; {NOT_PUBLISHED}",
        command="s3",
        hint="take a backup of several files, or one into a folder",
    )


class _Memory:
    """So many bytes and no more; who wants more waits until others are done."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._changed = threading.Condition()

    def take(self, size: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._used or self._used + size <= self._limit)
            self._used += size

    def give(self, size: int) -> None:
        with self._changed:
            self._used -= size
            self._changed.notify_all()
