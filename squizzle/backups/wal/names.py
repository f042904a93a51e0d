"""Names of files of the write-ahead log, and what can be read out of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from squizzle.errors import InvalidInputError

DEFAULT_SEGMENT_BYTES = 16 << 20

# One "log id" is four gigabytes; a segment's name counts the segments in it (xlog_internal.h, XLogFileName).
_LOG_ID_BYTES = 1 << 32
_SEGMENT = r"[0-9A-F]{24}"
_LSN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")


class WalKind(StrEnum):
    """What a file of the write-ahead log is."""

    SEGMENT = "segment"
    PARTIAL = "partial"
    """The last segment of an old timeline, as far as it was written."""
    HISTORY = "history"
    """Where a timeline left its parent."""
    BACKUP = "backup"
    """Where a base backup began and ended."""

    @property
    def has_header(self) -> bool:
        """Whether it begins with a page of the log."""
        return self in {WalKind.SEGMENT, WalKind.PARTIAL}


_PATTERNS = {
    WalKind.SEGMENT: re.compile(_SEGMENT),
    WalKind.PARTIAL: re.compile(rf"{_SEGMENT}\.partial"),
    WalKind.HISTORY: re.compile(r"[0-9A-F]{8}\.history"),
    WalKind.BACKUP: re.compile(rf"{_SEGMENT}\.[0-9A-F]{{8}}\.backup"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class WalName:
    """The name of a file of the write-ahead log.

    Attributes:
        text: The name itself.
        kind: What it names.
        timeline: The timeline that it belongs to.
    """

    text: str
    kind: WalKind
    timeline: int

    def number(self, segment_bytes: int) -> int:
        """The segment's number since the beginning of the log; for every kind but a history."""
        return int(self.text[8:16], 16) * (_LOG_ID_BYTES // segment_bytes) + int(self.text[16:24], 16)


def wal_name(text: str) -> WalName | None:
    """Read a name; None for one that PostgreSQL gives to no file of its log."""
    for kind, pattern in _PATTERNS.items():
        if pattern.fullmatch(text):
            return WalName(text=text, kind=kind, timeline=int(text[:8], 16))
    return None


def parse_name(text: str) -> WalName:
    """Read a name.

    Raises:
        InvalidInputError: PostgreSQL gives it to no file of its log.
    """
    name = wal_name(text)
    if name is None:
        raise InvalidInputError(
            f"{text!r} is no name of a file of the write-ahead log",
            hint="PostgreSQL puts it in for %f; write %f into archive_command and restore_command",
        )
    return name


def segment_name(timeline: int, number: int, segment_bytes: int) -> str:
    """The name of a segment by its number."""
    high, low = divmod(number, _LOG_ID_BYTES // segment_bytes)
    return f"{timeline:08X}{high:08X}{low:08X}"


def lsn_text(position: int) -> str:
    """A position in the log as PostgreSQL writes it."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def lsn_number(text: str) -> int | None:
    """A position in the log as a number of bytes; None when the text is none."""
    found = _LSN.fullmatch(text)
    return int(found[1], 16) << 32 | int(found[2], 16) if found else None
