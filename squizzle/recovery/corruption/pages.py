"""What a page of a relation says about itself: its header, its checksum, and whether PostgreSQL would read it.

Nothing here reads a file or asks a server. The layout is PostgreSQL's `bufpage.h`, the checksum its `checksum_impl.h`;
both are the same on every version that there is to work with (layout version 4).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

PAGE_BYTES = 8192
"""The size that everybody uses; another one takes a server that was compiled for it."""

SEGMENT_PAGES = 131_072
"""A relation is cut into files of 1 GB."""

HEADER_BYTES = 24
MOST_LINES = 291
"""A page of a table has no more line pointers (`MaxHeapTuplesPerPage`)."""

_HEADER = struct.Struct("<QHHHHHHI")
_FLAGS = 0x0007
_LINE_BYTES = 4

# checksum_impl.h: FNV-1a, 32 sums beside each other, each with a start of its own.
_PRIME = 16_777_619
_MASK = 0xFFFFFFFF
# fmt: off
_STARTS = (
    0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C,
    0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB,
    0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4,
    0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756,
)
# fmt: on
_CHECKSUM_AT = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class PageHeader:
    """The first bytes of a page.

    Attributes:
        lsn: Of the last change, as a number.
        checksum: As stored; 0 without checksums.
        flags: Bits.
        lower: Where free space begins.
        upper: Where it ends; 0 for a page that was never used.
        special: Where an index keeps what is its own; the page's size for a table.
    """

    lsn: int
    checksum: int
    flags: int
    lower: int
    upper: int
    special: int

    @property
    def lines(self) -> int:
        """How many line pointers there are; as many as there can be where the header says nonsense."""
        if not HEADER_BYTES <= self.lower <= self.upper <= PAGE_BYTES:
            return MOST_LINES
        return min(MOST_LINES, (self.lower - HEADER_BYTES) // _LINE_BYTES)


def read_header(page: bytes) -> PageHeader:
    """The header of a page; the page has `PAGE_BYTES`."""
    lsn, checksum, flags, lower, upper, special, _, _ = _HEADER.unpack_from(page)
    # Two halves, the upper one first, whatever the machine's order.
    return PageHeader(
        lsn=(lsn & _MASK) << 32 | lsn >> 32, checksum=checksum, flags=flags, lower=lower, upper=upper, special=special
    )


def page_checksum(page: bytes, block: int) -> int:
    """The checksum that a page must have.

    Args:
        page: `PAGE_BYTES` bytes; what is stored in it as its checksum does not count.
        block: Its number within the relation, over all of the relation's files.
    """
    words = struct.unpack(f"<{PAGE_BYTES // 4}I", page[:_CHECKSUM_AT] + bytes(2) + page[_CHECKSUM_AT + 2 :])
    result = 0
    for column, start in enumerate(_STARTS):
        total = start
        for word in (*words[column :: len(_STARTS)], 0, 0):
            mixed = total ^ word
            total = (mixed * _PRIME & _MASK) ^ mixed >> 17
        result ^= total
    return (result ^ block) % 65_535 + 1


def with_checksum(page: bytes, block: int) -> bytes:
    """The same page with the checksum that it must have."""
    return page[:_CHECKSUM_AT] + struct.pack("<H", page_checksum(page, block)) + page[_CHECKSUM_AT + 2 :]


def flaw_of(page: bytes) -> str:
    """Why PostgreSQL refuses a page whatever its checksum is (`PageIsVerified`); empty when it does not.

    A page of zeros is accepted: tables grow by such pages.

    Args:
        page: As read; fewer than `PAGE_BYTES` when the file was cut.
    """
    if len(page) < PAGE_BYTES:
        return f"the file ends in the middle of it, after {len(page):,} bytes"
    header = read_header(page)
    if header.upper == 0:
        return "" if not any(page) else "its header says that it was never used, and it is not empty"
    if header.flags & ~_FLAGS:
        return f"its header has flags that do not exist ({header.flags:#06x})"
    if not header.lower <= header.upper <= header.special <= PAGE_BYTES or header.special % 8:
        return (
            f"its header makes no sense (free space from {header.lower} to {header.upper},"
            f" special space at {header.special})"
        )
    return ""


def checksum_words(page: bytes, block: int) -> str:
    """How the stored checksum differs from what it must be; empty when it does not, or there is none to have."""
    if len(page) < PAGE_BYTES or not any(page):
        return ""
    stored, right = read_header(page).checksum, page_checksum(page, block)
    return "" if stored == right else f"its checksum is {stored:#06x} and must be {right:#06x}"


def hollow_page(block: int, *, checksums: bool) -> bytes:
    """A page of a table, every line of which is a row without columns that everybody sees.

    In a copy it takes the place of a page that cannot be read: an index-only scan that comes to it is content that
    the row is there, and gives out what the index knows of it.

    Args:
        block: Which page it is to be.
        checksums: Whether the cluster has checksums.
    """
    row_bytes = 24
    row_at = PAGE_BYTES - row_bytes
    lower = HEADER_BYTES + MOST_LINES * _LINE_BYTES
    header = _HEADER.pack(0, 0, 0, lower, row_at, PAGE_BYTES, PAGE_BYTES | 4, 0)
    # ItemIdData: offset, "normal", length.
    line = struct.pack("<I", row_at | 1 << 15 | row_bytes << 17)
    # HeapTupleHeader: xmin frozen, xmax invalid, no columns.
    frozen, no_xmax = 0x0300, 0x0800
    row = struct.pack("<IIIHHHHHBx", 2, 0, 0, block >> 16, block & 0xFFFF, 1, 0, frozen | no_xmax, row_bytes)
    page = (header + line * MOST_LINES).ljust(row_at, b"\0") + row
    return with_checksum(page, block) if checksums else page
