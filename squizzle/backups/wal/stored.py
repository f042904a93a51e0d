"""How a file of the log lies in an archive: as it is or compressed, with its hash beside it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, cast

from squizzle.backups.wal.archive import WalArchive
from squizzle.errors import BackupDamagedError

COMPRESSED = ".zst"
HASH = ".sha256"
ENCRYPTED = ".enc"
_CHUNK = 1 << 20
_LONGEST_HASH_FILE = 1024
# Measured on segments of pgbench: levels 1 and 3 take 0.02 s for 16 MB, and leave 6 % of them; gzip takes 0.05 to
# 0.18 s and leaves 7 to 8 %.
_LEVEL = 3


def compressed(source: IO[bytes]) -> IO[bytes]:
    """A file's content compressed with zstd, with zstd's own checksum."""
    import zstandard  # noqa: PLC0415 - most archives are not compressed, and a segment should not wait for it

    return cast(
        "IO[bytes]", zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).stream_reader(source, closefd=False)
    )


@contextmanager
def plain(name: str, source: IO[bytes]) -> Iterator[IO[bytes]]:
    """The content of a stored file as PostgreSQL wrote it.

    Raises:
        BackupDamagedError: It cannot be decompressed.
    """
    if not name.endswith(COMPRESSED):
        yield source
        return
    import zstandard  # noqa: PLC0415 - as above

    try:
        stream = zstandard.ZstdDecompressor().stream_reader(source, closefd=False)
        yield io.BufferedReader(cast("io.RawIOBase", stream), _CHUNK)
    except zstandard.ZstdError as exc:
        raise BackupDamagedError(
            f"{name} cannot be decompressed: {exc}", hint="keep it for finding out what damaged it; use another copy"
        ) from exc


class HashingReader:
    """Reads from another file and hashes what was read.

    Args:
        source: The other file.
    """

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """As of a file."""
        chunk = self._source.read(size)
        self._digest.update(chunk)
        return chunk

    def finish(self) -> str:
        """The SHA-256 of the whole file, whose rest is read now."""
        while self.read(_CHUNK):
            pass
        return self._digest.hexdigest()


def hash_line(name: str, digest: str) -> str:
    """What stands in the file with the hash; `sha256sum --check` reads it, too."""
    return f"{digest}  {name}\n"


def read_hash(archive: WalArchive, system_identifier: str, name: str) -> str | None:
    """The hash that was written beside a stored file; None when there is none.

    Raises:
        BackupDamagedError: There is something else in its place.
        ToolError: The store cannot be read.
    """
    try:
        with archive.open(system_identifier, name + HASH) as file:
            text = file.read(_LONGEST_HASH_FILE).decode(errors="replace")
    except FileNotFoundError:
        return None
    digest = text[:64]
    if text != hash_line(name, digest):
        raise BackupDamagedError(
            f"{name}{HASH} in {archive.address} is damaged",
            hint="compare the segment with another copy, then move the hash away",
        )
    return digest
