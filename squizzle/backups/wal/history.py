"""Histories of timelines: where each left its parent (manual, "Timelines")."""

from __future__ import annotations

from dataclasses import dataclass

from squizzle.backups.wal.names import lsn_number


@dataclass(frozen=True, kw_only=True, slots=True)
class Fork:
    """A line of a history.

    Attributes:
        timeline: A timeline of before.
        position: Where it was left, a number of bytes; its rows behind are none of the newer timeline's.
    """

    timeline: int
    position: int


def read_forks(text: str) -> tuple[Fork, ...]:
    """The lines of a history, the oldest timeline first; what is no such line is passed over."""
    found = []
    for line in text.splitlines():
        fields = line.split(maxsplit=2)
        if len(fields) > 1 and fields[0].isdecimal() and (position := lsn_number(fields[1])) is not None:
            found.append(Fork(timeline=int(fields[0]), position=position))
    return tuple(found)
