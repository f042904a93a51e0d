"""Having pg_basebackup copy a cluster into a store: as one compressed stream, or as files where it must be several."""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import io
import os
import re
import select
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import IO, cast

import zstandard

from squizzle.backups.order import Order
from squizzle.backups.physical.tar_tap import TarTap
from squizzle.backups.store import Incoming
from squizzle.errors import BackupDamagedError, ToolError
from squizzle.postgres.access import Connection, client_environment
from squizzle.postgres.client_run import run_client
from squizzle.postgres.programs import can_compress
from squizzle.processes import GuardedProcess

CLUSTER_FILE = "base.tar.zst"
"""The cluster, with the write-ahead log that it needs."""

PACKED = re.compile(r"(base|\d+)\.tar\.(zst|gz)")
"""What a copy consists of: the cluster, and each tablespace by its number."""

SERVER_MANIFEST = "backup_manifest"
"""What the server says about every file of the cluster; the next increment builds on it."""

_TAIL_BYTES = 8192
_STOP_S = 5.0
_COMPRESSION_LEVEL = 1
# Client-side: the copy never lies anywhere uncompressed, and the server's processors are left alone.
_THREADS = 2
# What the server notes of every file. With a library it hashes 1 GB/s; without one its own SHA-256 makes a copy take
# 2.5 times as long (measured on 15.18 and 18.6), and CRC-32C finds accidents, too: what came here has our SHA-256.
_CHECKSUM_WITH_LIBRARY = "SHA256"
_CHECKSUM = "CRC32C"
# A pipe holds 64 kB, which makes for many changes between two processes; Linux lets anybody have 1 MB.
_PIPE_BYTES = 1 << 20
# How often somebody is told how far it is, and a silent pipe is looked up from.
_TELL_EVERY_S = 0.2


def copy_cluster(
    order: Order, connection: Connection, manifest: Path | None, incoming: Incoming, on_progress: Callable[[int], None]
) -> bytes:
    """Copy the cluster of the order into the store.

    Args:
        order: The server and its programs.
        connection: A session on it.
        manifest: The server's manifest of the copy that an increment builds on; None for a whole one.
        incoming: Where to.
        on_progress: Called with the bytes written so far, a few times a second.

    Returns:
        The server's manifest of the copy, which is in the store, too.

    Raises:
        ToolError: pg_basebackup failed, found a damaged page, or took too long; nothing was published.
    """
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM pg_tablespace WHERE oid >= 16384), current_setting('ssl_library')"
    ).fetchone()
    has_tablespaces, library = row or (False, "")
    options = [
        "--format=tar",
        "--wal-method=fetch",  # the only way that fits into one stream
        "--checkpoint=fast",
        f"--manifest-checksums={_CHECKSUM_WITH_LIBRARY if library else _CHECKSUM}",
        "--label=squizzle",
        "--no-password",
        *([] if order.copying.max_rate_kb is None else [f"--max-rate={order.copying.max_rate_kb}k"]),
        *([] if manifest is None else [f"--incremental={manifest}"]),
    ]
    copy = _copy_into_folder if has_tablespaces else _copy_as_stream
    return copy(order, options, incoming, on_progress)


def _copy_as_stream(order: Order, options: list[str], incoming: Incoming, on_progress: Callable[[int], None]) -> bytes:
    """Let pg_basebackup write into a pipe, and the store read from it."""
    command = [str(order.programs.path("pg_basebackup")), "--pgdata=-", *options]
    tap = TarTap({SERVER_MANIFEST})
    with (
        _pipe() as (source, output),
        client_environment(order.access, order.target.database) as environment,
        tempfile.TemporaryFile() as errors,
        GuardedProcess(
            command, environment=environment | {"LC_MESSAGES": "C"}, output=output, errors=errors
        ) as process,
    ):
        output.close()
        passing = _Passing(source, tap, on_progress, order.options.timeout)
        incoming.stream(CLUSTER_FILE, compressed(passing))
        code = process.wait(_STOP_S)
        if code != 0:
            raise _failure(order, code, errors)
    content = bytes(tap.kept.get(SERVER_MANIFEST, b""))
    (incoming.folder / SERVER_MANIFEST).write_bytes(content)
    return content


def _copy_into_folder(
    order: Order, options: list[str], incoming: Incoming, on_progress: Callable[[int], None]
) -> bytes:
    """Let pg_basebackup write a file for each tablespace: it does not write several into one stream."""
    folder = incoming.folder / "copy"
    method = "client-zstd:level=1" if can_compress(order.programs, "zstd") else "1"
    try:
        run_client(
            order.programs.path("pg_basebackup"),
            [f"--pgdata={folder}", f"--compress={method}", "--no-sync", *options],
            access=order.access,
            database=order.target.database,
            doing=f"copy the cluster of {order.target.database}",
            timeout=order.options.timeout,
            on_wait=lambda: on_progress(_size_of(folder)),
        )
    except ToolError as exc:
        exc.hint = _hint_for(exc.stderr_tail) or exc.hint
        raise
    for path in sorted(folder.iterdir()):
        path.rename(incoming.folder / path.name)
    folder.rmdir()
    return (incoming.folder / SERVER_MANIFEST).read_bytes()


def _size_of(folder: Path) -> int:
    with contextlib.suppress(FileNotFoundError):  # not made yet
        return sum(path.stat().st_size for path in folder.iterdir())
    return 0


def _failure(order: Order, code: int | None, errors: IO[bytes]) -> ToolError:
    errors.seek(max(0, errors.seek(0, os.SEEK_END) - _TAIL_BYTES))
    tail = errors.read().decode(errors="replace").strip()
    return ToolError(
        f"could not copy the cluster of {order.target.database}: pg_basebackup ended with exit code {code}:"
        f" {tail.splitlines()[-1] if tail else 'it said nothing'}; nothing was published",
        command="pg_basebackup",
        exit_code=-1 if code is None else code,
        stderr_tail=tail,
        hint=_hint_for(tail) or "mend what it complains about, then run the same again; older backups are untouched",
    )


def _hint_for(tail: str) -> str:
    if "checksum" in tail and ("verification failed" in tail or "error occurred" in tail):
        return (
            "a page on the server's disk is damaged: copy everything before you mend anything, and keep older backups"
        )
    if "has already been removed" in tail:
        return "raise max_slot_wal_keep_size, so that the log of the time that a copy takes is kept; then run again"
    if "number of requested standby connections" in tail or "max_wal_senders" in tail:
        return "raise max_wal_senders, or wait until another copy ends"
    if "WAL summaries" in tail or "summarization" in tail:
        return "the server no longer keeps what changed since the last copy: take a new one, `squizzle backup physical`"
    if "pg_hba.conf" in tail or "must be superuser or replication role" in tail:
        return "the account needs REPLICATION, and pg_hba.conf a line for replication connections"
    return ""


# Streams


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    reading, writing = os.pipe()
    with contextlib.suppress(OSError, AttributeError):  # another system, or a limit of the administrator's
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    with (
        open(reading, "rb", buffering=0) as source,  # noqa: PTH123 - a descriptor, no path
        open(writing, "wb", buffering=0) as output,  # noqa: PTH123 - same
    ):
        yield source, output


class _Passing(io.RawIOBase):
    """The pipe, looked at while it is read."""

    def __init__(self, source: IO[bytes], tap: TarTap, on_progress: Callable[[int], None], timeout: timedelta) -> None:
        super().__init__()
        self._source = source
        self._tap = tap
        self._on_progress = on_progress
        self._deadline = time.monotonic() + timeout.total_seconds()
        self._passed = 0
        self._told = 0.0

    def readable(self) -> bool:
        """It is read only."""
        return True

    def read(self, size: int = -1) -> bytes:
        """The next bytes; empty at the end. A server that falls silent is not waited for beyond the time given."""
        while not select.select([self._source], [], [], _TELL_EVERY_S)[0]:
            self._tell()
        chunk = self._source.read(max(size, 1 << 16))
        self._tap.feed(chunk)
        self._passed += len(chunk)
        if time.monotonic() >= self._told + _TELL_EVERY_S:
            self._tell()
        return chunk

    def _tell(self) -> None:
        self._told = time.monotonic()
        self._on_progress(self._passed)
        if self._told > self._deadline:
            raise ToolError(
                "the copy of the cluster took too long and was stopped; nothing was published",
                hint="allow more time, or look at what slows the server down",
            )


def compressed(source: IO[bytes] | io.RawIOBase) -> IO[bytes]:
    """What a source gives, compressed with zstd and a checksum, in memory of some megabytes."""
    compressor = zstandard.ZstdCompressor(level=_COMPRESSION_LEVEL, threads=_THREADS, write_checksum=True)
    reader = compressor.stream_reader(cast("IO[bytes]", source), read_size=_PIPE_BYTES)
    return cast("IO[bytes]", reader)


@contextlib.contextmanager
def plain(path: Path) -> Iterator[IO[bytes]]:
    """A compressed file of a copy, to be read as it was.

    Raises:
        BackupDamagedError: It is cut or damaged; what was read until then is of no use.
    """
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as unzipped:
                yield cast("IO[bytes]", unzipped)
            return
        with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as reader:
            yield io.BufferedReader(cast("io.RawIOBase", reader), 1 << 20)
    except (zstandard.ZstdError, tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as exc:
        raise BackupDamagedError(f"{path} cannot be unpacked: {exc}", hint="use another backup") from exc
