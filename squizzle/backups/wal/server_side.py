"""What a server says about the archive of its log: does it fill it itself, or does a receiver?"""

from __future__ import annotations

from dataclasses import dataclass

from squizzle.backups.wal.archive import WalArchive
from squizzle.backups.wal.archiver import Archiver, archiver_problems, read_archiver
from squizzle.backups.wal.slots import Slot, read_slot, receiver_problems, slot_problems
from squizzle.postgres.access import Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerSide:
    """A server beside the archive of its log.

    Attributes:
        archiver: Its archiver.
        slot: The receiver's slot; None when there is none, or none was meant.
        problems: A sentence each.
    """

    archiver: Archiver
    slot: Slot | None
    problems: tuple[str, ...]


def look_at_server(connection: Connection, archive: WalArchive, slot_name: str | None) -> ServerSide:
    """Ask a server how its log comes into an archive, and what is wrong with that. Nothing is changed.

    Args:
        connection: A session.
        archive: The archive.
        slot_name: The slot of the receiver that fills it; None for none.

    Raises:
        DatabaseError: The session was lost.
        ToolError: The archive cannot be read.
    """
    archiver = read_archiver(connection)
    slot = None if slot_name is None else read_slot(connection, slot_name)
    is_received = slot is not None and slot.active_pid is not None
    problems = archiver_problems(archiver, archive, is_received=is_received)
    if slot_name is not None:
        problems += slot_problems(slot, slot_name)
    if slot is not None:
        problems += receiver_problems(slot, archive, archiver.system_identifier)
    return ServerSide(archiver=archiver, slot=slot, problems=problems)
