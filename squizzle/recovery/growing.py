"""How far a program is that says nothing itself: as large as what it makes has become."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from squizzle.headway import Unit, is_told, stretch
from squizzle.postgres.access import Connection

WITH_INDEXES = 1.5
"""A database with its indexes, as a multiple of its tables: what is expected of the room for it, too."""

# All files are looked at for that, by the server or by us.
_ASK_EVERY_S = 1.0


@contextmanager
def growing_database(control: Connection, into: str, *, expected_bytes: int) -> Iterator[Callable[[], None]]:
    """Say how far a restore is by the size of the new database. Nothing is changed.

    Args:
        control: A session in another database of the same server, which has nothing else to do meanwhile.
        into: The new database.
        expected_bytes: About how large it becomes; 0 when that cannot be told.

    Yields:
        To be called a few times a second.
    """

    def size() -> int | None:
        try:
            row = control.execute("SELECT pg_database_size(%s)", (into,)).fetchone()
        except psycopg.Error:
            # Whether the restore goes well is pg_restore's to say; then only the time is shown.
            return None
        return int(row[0]) if row else None

    with _growing(f"restoring {into}", size, expected_bytes=expected_bytes) as look:
        yield look


@contextmanager
def growing_folder(doing: str, folder: Path, *, expected_bytes: int = 0) -> Iterator[Callable[[], None]]:
    """Say how far a program is by the size of the folder that it fills.

    Args:
        doing: What it does.
        folder: Need not be there yet.
        expected_bytes: About how large it becomes; 0 when that cannot be told.

    Yields:
        To be called a few times a second.
    """
    with _growing(doing, lambda: _bytes_in(folder), expected_bytes=expected_bytes) as look:
        yield look


def _bytes_in(folder: Path) -> int:
    """What is in a folder that somebody writes to; files come and go meanwhile."""
    found = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                found += (Path(place) / name).lstat().st_size
            except FileNotFoundError:
                continue
    return found


@contextmanager
def _growing(doing: str, size: Callable[[], int | None], *, expected_bytes: int) -> Iterator[Callable[[], None]]:
    asked_at = time.monotonic()
    asks = is_told()
    with stretch(doing, unit=Unit.BYTES, total=expected_bytes, is_estimate=True) as headway:

        def look() -> None:
            nonlocal asked_at, asks
            if not asks or time.monotonic() - asked_at < _ASK_EVERY_S:
                return
            found = size()
            asked_at = time.monotonic()
            asks = found is not None
            if found is not None:
                headway.at(found)

        yield look
