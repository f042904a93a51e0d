"""Segments of a write-ahead log without a server: a right first page, and anything behind it."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

from squizzle.backups.wal.archive import FolderArchive
from squizzle.backups.wal.names import segment_name
from squizzle.backups.wal.transfer import archive_wal

SYSTEM = "7300000000000000001"
SEGMENT_BYTES = 1 << 20


def segment_bytes(number: int, *, timeline: int = 1, system: str = SYSTEM, seed: str = "") -> bytes:
    """One segment of a megabyte; the seed makes its content another."""
    address = number * SEGMENT_BYTES
    first = struct.pack("=HHIQI4xQII", 0xD110, 2, timeline, address, 0, int(system), SEGMENT_BYTES, 8192)
    body = hashlib.shake_256(f"{number} {seed}".encode()).digest(4096)
    return (first + body * (SEGMENT_BYTES // len(body)))[:SEGMENT_BYTES]


def write_segment(folder: Path, number: int, *, timeline: int = 1, seed: str = "") -> Path:
    """A segment under its name in a folder."""
    path = folder / segment_name(timeline, number, SEGMENT_BYTES)
    path.write_bytes(segment_bytes(number, timeline=timeline, seed=seed))
    return path


def take_over(archived: Path, store: Path, system: str, *, first: str = "0" * 24) -> list[str]:
    """Put segments that a test server has archived by `cp` into the archive of a store; their names, in order."""
    names = sorted(path.name for path in archived.iterdir() if len(path.name) == len(first) and path.name >= first)
    for name in names:
        archive_wal(FolderArchive(store), archived / name, name, system_identifier=system)
    return names
