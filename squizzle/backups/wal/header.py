"""What a segment says about itself on its first page, and what the cluster that wrote it says."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from squizzle.backups.wal.names import WalName, lsn_text, segment_name
from squizzle.errors import BackupDamagedError, InvalidInputError

HEADER_BYTES = 40
# XLogLongPageHeaderData of access/xlog_internal.h: magic, info, timeline, address of the page, length of a record that
# goes on (and padding); then system identifier, size of a segment, size of a page. In the byte order of this machine:
# PostgreSQL itself reads no other.
_LAYOUT = struct.Struct("=HHIQI4xQII")
_LONG_HEADER = 0x0002
# The upper byte of the magic number has been this since 8.0; the lower one counts changes of the format.
_MAGIC_FAMILY = 0xD1
_SMALLEST, _LARGEST = 1 << 20, 1 << 30


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentHeader:
    """The first page of a segment.

    Attributes:
        system_identifier: Of the cluster that wrote it.
        timeline: That the page was written on; older than the name's in the first segment after a fork, whose beginning
            is copied.
        address: Position of its first byte in the log.
        segment_bytes: How long every segment of this cluster is.
    """

    system_identifier: str
    timeline: int
    address: int
    segment_bytes: int


def read_header(first: bytes, *, source: str) -> SegmentHeader:
    """Read the first bytes of a segment.

    Args:
        first: At least HEADER_BYTES of it.
        source: What messages call it.

    Raises:
        BackupDamagedError: It does not begin as a segment does.
    """
    if len(first) < HEADER_BYTES:
        raise _no_segment(source, f"it ends after {len(first)} bytes")
    magic, info, timeline, address, _, system, segment_bytes, _ = _LAYOUT.unpack_from(first)
    if magic >> 8 != _MAGIC_FAMILY or not info & _LONG_HEADER:
        raise _no_segment(source, f"its first bytes are {first[:4].hex()}")
    if not _SMALLEST <= segment_bytes <= _LARGEST or segment_bytes & (segment_bytes - 1):
        raise _no_segment(source, f"it says that segments have {segment_bytes} bytes")
    return SegmentHeader(system_identifier=str(system), timeline=timeline, address=address, segment_bytes=segment_bytes)


def _no_segment(source: str, why: str) -> BackupDamagedError:
    return BackupDamagedError(
        f"{source} is not a segment of a write-ahead log: {why}", hint="look at what wrote it; it was left as it is"
    )


def header_problem(header: SegmentHeader, name: WalName, size_bytes: int, system_identifier: str | None) -> str:
    """Why a segment does not belong under a name; empty when it does.

    Args:
        header: What its first page says.
        name: The name that it has.
        size_bytes: How long it is.
        system_identifier: Of the cluster that it should come from; None when that is not known.
    """
    if system_identifier is not None and header.system_identifier != system_identifier:
        return f"it belongs to the cluster {header.system_identifier}, expected {system_identifier}"
    if size_bytes != header.segment_bytes:
        return f"it has {size_bytes} bytes, a whole one has {header.segment_bytes}"
    if header.address != name.number(header.segment_bytes) * header.segment_bytes:
        number = header.address // header.segment_bytes
        right = segment_name(name.timeline, number, header.segment_bytes)
        return f"it begins at {lsn_text(header.address)} and so is {right}"
    if header.timeline > name.timeline:
        return f"it was written on timeline {header.timeline}, the name says {name.timeline}"
    return ""


def cluster_identifier(data_folder: Path) -> str:
    """The system identifier of the cluster in a data folder: the first eight bytes of its control file.

    Raises:
        InvalidInputError: There is no cluster in that folder.
    """
    path = data_folder / "global" / "pg_control"
    try:
        with path.open("rb") as file:
            (identifier,) = struct.unpack("=Q", file.read(8))
    except (OSError, struct.error) as exc:
        raise InvalidInputError(
            f"{path.absolute()} does not say which cluster this is: {exc}",
            hint="PostgreSQL runs the command in its data folder; elsewhere add --system-identifier",
        ) from exc
    return str(identifier)
