"""Positions in the write-ahead log, and which one a snapshot of SQL stands for. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_XIDS = 1 << 32
_COMMIT = re.compile(
    r"^rmgr: Transaction .*\btx:\s*(?P<xid>\d+), lsn: (?P<lsn>[0-9A-F]+/[0-9A-F]+),"
    r".* desc: (?:COMMIT|COMMIT_PREPARED (?P<prepared>\d+):) ",
    re.MULTILINE,
)


def segment_of(position: int, segment_bytes: int) -> int:
    """The number of the segment that holds the last byte before a position (PostgreSQL's XLByteToPrevSeg)."""
    return (position - 1) // segment_bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Commit:
    """One commit in the log.

    Attributes:
        xid: Number of the transaction, its lower 32 bits, as the log has it.
        lsn: Where its record begins.
    """

    xid: int
    lsn: str


def read_commits(text: str) -> tuple[Commit, ...]:
    """The commits in the output of `pg_waldump --rmgr=Transaction`, in their order.

    That of a prepared transaction names the transaction in its description. A commit without a number changed no row.
    """
    found = (Commit(xid=int(match["prepared"] or match["xid"]), lsn=match["lsn"]) for match in _COMMIT.finditer(text))
    return tuple(commit for commit in found if commit.xid)


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """What a snapshot sees (manual, "Transaction ID and Snapshot Information Functions").

    Attributes:
        xmin: All transactions below have ended.
        xmax: None from here on is seen.
        running: Those in between that are not seen.
    """

    xmin: int
    xmax: int
    running: frozenset[int]

    @classmethod
    def from_text(cls, text: str) -> Snapshot:
        """Read what `pg_current_snapshot()` writes: `10:20:11,15`."""
        xmin, xmax, running = text.split(":")
        return cls(xmin=int(xmin), xmax=int(xmax), running=frozenset(int(one) for one in running.split(",") if one))

    def sees(self, xid: int) -> bool:
        """Whether what a transaction that is known to have committed wrote is seen.

        Args:
            xid: Its number, or the lower 32 bits: no two that live at one time are half a turn apart.
        """
        apart = (xid - self.xmax + _XIDS // 2) % _XIDS - _XIDS // 2
        whole = self.xmax + apart
        return whole < self.xmax and whole not in self.running


def position_of(snapshot: Snapshot, commits: Iterable[Commit]) -> str | None:
    """The position before which exactly the seen transactions committed.

    A transaction writes its commit into the log, waits for the disk, and only then is seen. So those seen need not be
    the first ones in the log: two may become visible in another order than they wrote.

    Args:
        snapshot: What is seen.
        commits: Every commit that was written from a moment on at which all earlier ones were visible, until after
            the snapshot was taken; the last one is not seen.

    Returns:
        Where the record of the first commit begins that is not seen; None when one that is seen comes after it.
    """
    first: str | None = None
    for commit in commits:
        if not snapshot.sees(commit.xid):
            first = first or commit.lsn
        elif first is not None:
            return None
    return first
