"""Segments of a write-ahead log without a server: a right first page, and anything behind it."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

from squizzle.backups.wal.names import segment_name

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
