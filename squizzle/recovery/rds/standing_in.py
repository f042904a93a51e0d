"""The restored instance before it gets the damaged one's name: shut like that one, with the notes of who holds what.

Notes about fences lie beside the database, on the damaged instance. Whoever opens everything again after the swap asks
the restored one, so they are carried over; and with them goes a note of which instance it is, for clients of a name
that has just moved may still reach the other one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from squizzle.postgres.access import Connection
from squizzle.recovery.fence import set_allow_connections, terminate_sessions
from squizzle.recovery.fences.book import FenceBook, Page

_WHO = "squizzle: restored instance"
_LONGEST_NAME = 63


def instance_names(instance: str, moment: datetime) -> tuple[str, str]:
    """What the restored instance is called until the swap, and what the damaged one is called after it.

    The moment is that of the recovery's fence, so that a run that was killed finds what it had made.
    """
    stamp = f"{moment.astimezone(UTC):%Y%m%d%H%M%S}"
    return _short(instance, f"-new-{stamp}"), _short(instance, f"-old-{stamp}")


def _short(instance: str, suffix: str) -> str:
    return instance[: _LONGEST_NAME - len(suffix)].rstrip("-") + suffix


def shut_like(damaged: Connection, restored: Connection, database: str, things: Sequence[str], *, id_: str) -> None:
    """Shut the database on the restored instance as it is on the damaged one, and carry the notes over. Repeatable.

    Args:
        damaged: A session in the maintenance database of the damaged instance, which is only read.
        restored: The same of the restored one.
        database: The database.
        things: The names of everything that may be shut.
        id_: `DbiResourceId` of the restored instance.

    Raises:
        DatabaseError: Not allowed; the restored instance is open or shut, the damaged one as it was.
    """
    there, here = FenceBook(damaged), FenceBook(restored)
    here.write(_WHO, Page(found=id_))
    for thing in things:
        page = there.read(thing)
        if page is not None:
            here.write(thing, page)
    set_allow_connections(restored, database, allow=False)
    terminate_sessions(restored, database)


def leads_to(control: Connection, id_: str) -> bool:
    """Whether a session is one of the restored instance, and not of the one whose name it got."""
    page = FenceBook(control).read(_WHO)
    return page is not None and page.found == id_


def forget_name(control: Connection) -> None:
    """Remove the note of which instance it is. Safe to repeat."""
    FenceBook(control).remove(_WHO)
