"""The replication slot of a receiver: what it makes the server keep, and how much it may."""

from __future__ import annotations

import re
from dataclasses import dataclass

import psycopg

from squizzle.backups.space import size_words
from squizzle.backups.wal.archive import WalArchive
from squizzle.backups.wal.names import WalKind, lsn_number, lsn_text, wal_name
from squizzle.backups.wal.stored import COMPRESSED
from squizzle.errors import InvalidInputError, LockTimeoutError, RefusedError
from squizzle.postgres.access import Connection
from squizzle.postgres.sql_files import load_sql
from squizzle.postgres.translation import translate_error

DEFAULT_SLOT = "squizzle"
_NAME = re.compile(r"[a-z0-9_]{1,63}")
# Of what a slot may keep: then somebody should look, before the server lets go of it.
_NEARLY_FULL = 0.8
# Segments that may be on their way from a receiver to the archive.
_MAY_WAIT = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """A replication slot (`pg_replication_slots`) with who uses it (`pg_stat_replication`).

    Attributes:
        name: Its name.
        physical: Whether it is for the log itself.
        active_pid: The server's process that serves its user; None for no user.
        used_by: The user's application_name; None when there is none, or this account may not see it.
        wal_status: `reserved`, `extended`, `unreserved` or `lost`; None when it keeps nothing yet.
        restart_lsn: The server keeps the log from here on; None when it keeps nothing.
        flush_lsn: What its user says is safe on its disk; None as for `used_by`.
        retained_bytes: How much of the log it makes the server keep; None when it keeps nothing.
        limit_bytes: How much it may (`max_slot_wal_keep_size`); None: until the server's disk is full.
        sync_state: `sync` or `quorum` when commits wait for its user; None as for `used_by`.
        segment_bytes: How long segments are.
    """

    name: str
    physical: bool
    active_pid: int | None
    used_by: str | None
    wal_status: str | None
    restart_lsn: str | None
    flush_lsn: str | None
    retained_bytes: int | None
    limit_bytes: int | None
    sync_state: str | None
    segment_bytes: int

    @property
    def received_to(self) -> int | None:
        """Up to where its user has the log safely on its disk, as far as can be seen; a number of bytes."""
        positions = [lsn_number(text) for text in (self.restart_lsn, self.flush_lsn) if text]
        return max((one for one in positions if one is not None), default=None)

    @property
    def words(self) -> str:
        """What it keeps, for a person."""
        limit = "no limit" if self.limit_bytes is None else f"at most {size_words(self.limit_bytes)}"
        return f"slot {self.name} keeps {size_words(self.retained_bytes or 0)} of the log, {limit}"


def read_slot(connection: Connection, name: str) -> Slot | None:
    """Ask a server about one of its slots. Nothing is changed.

    Raises:
        DatabaseError: The session was lost.
    """
    try:
        row = connection.execute(load_sql("squizzle.backups.wal", "slot"), (name,)).fetchone()
    except psycopg.Error as exc:
        raise translate_error(exc, doing=f"ask about the slot {name}") from exc
    return None if row is None else Slot(**dict(zip(Slot.__dataclass_fields__, row, strict=True)))


def create_slot(connection: Connection, name: str) -> None:
    """Make a slot; from now on the server keeps its log until somebody fetches it or the limit is reached.

    Raises:
        InvalidInputError: The name cannot be a slot's.
        DatabaseError: The account may not replicate, or all slots are taken; no slot was made.
    """
    refuse_odd_name(name)
    try:
        connection.execute("SELECT pg_create_physical_replication_slot(%s, true)", (name,))
    except psycopg.Error as exc:
        raise translate_error(exc, doing=f"make the slot {name}", needs="the attribute REPLICATION") from exc


def refuse_odd_name(name: str) -> None:
    """Refuse what PostgreSQL takes for no slot's name.

    Raises:
        InvalidInputError: It is none.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInputError(f"{name!r} cannot name a slot", hint="use up to 63 of a-z, 0-9 and _")


def refuse_unusable(slot: Slot) -> None:
    """Refuse a slot that no receiver can go on with.

    Raises:
        InvalidInputError: It is for logical replication.
        RefusedError: The server has let go of what it should have kept.
        LockTimeoutError: Somebody else uses it.
    """
    if not slot.physical:
        raise InvalidInputError(f"the slot {slot.name} is for logical replication", hint="name another: --slot NAME")
    if slot.wal_status == "lost":
        raise RefusedError(
            f"the slot {slot.name} was invalidated: {_lost_words(slot)}",
            hint=f"SELECT pg_drop_replication_slot('{slot.name}'); then run with --create-slot, and take a new copy of"
            " the cluster (squizzle backup physical): older ones cannot be brought past the gap",
        )
    if slot.active_pid is not None:
        who = f" ({slot.used_by})" if slot.used_by else ""
        raise LockTimeoutError(
            f"the slot {slot.name} is in use by the server's process {slot.active_pid}{who}",
            hint="end the other receiver, or give this one a slot of its own: --slot NAME",
        )


def _lost_words(slot: Slot) -> str:
    limit = "no limit now" if slot.limit_bytes is None else size_words(slot.limit_bytes)
    return f"its receiver was away for too long, and the server removed log that it needs (limit: {limit})"


def receiver_problems(slot: Slot, archive: WalArchive, system_identifier: str) -> tuple[str, ...]:
    """What is wrong between a receiver and the archive that it should fill; a sentence each.

    Raises:
        ToolError: The archive cannot be read.
    """
    names = (wal_name(file.name.removesuffix(COMPRESSED)) for file in archive.files(system_identifier))
    found = [name for name in names if name is not None and name.kind is WalKind.SEGMENT]
    if not found or slot.received_to is None:
        return ()
    last = max(name.number(slot.segment_bytes) for name in found)
    behind = slot.received_to // slot.segment_bytes - 1 - last
    if behind <= _MAY_WAIT:
        return ()
    position = lsn_text(slot.received_to)
    told = f"{archive.address} is {behind} segments behind its receiver, who has the log up to {position}"
    return (f"{told}: its store fails, or it fills another",)


def slot_problems(slot: Slot | None, name: str) -> tuple[str, ...]:
    """What is wrong with a receiver's slot; a sentence each.

    Args:
        slot: As `read_slot` found it.
        name: The slot that was meant.
    """
    if slot is None:
        return (f"the server has no slot {name}, so it keeps nothing for a receiver",)
    problems = []
    if slot.wal_status == "lost":
        problems.append(f"the slot {slot.name} was invalidated: {_lost_words(slot)}")
    elif slot.active_pid is None:
        problems.append(f"nobody receives the log: {slot.words}, and has no user")
    if slot.wal_status == "unreserved" or is_nearly_full(slot):
        problems.append(f"the server is about to give up what it keeps: {slot.words}")
    if slot.limit_bytes is None:
        problems.append(
            f"the slot {slot.name} has no limit: without its receiver it fills the server's disk"
            " (set max_slot_wal_keep_size)"
        )
    if slot.sync_state in {"sync", "quorum"}:
        problems.append(
            f"commits wait for the receiver of {slot.name} (synchronous_standby_names): name the standbys there instead"
        )
    return tuple(problems)


def is_nearly_full(slot: Slot) -> bool:
    """Whether it keeps most of what it may."""
    return slot.limit_bytes is not None and (slot.retained_bytes or 0) > _NEARLY_FULL * slot.limit_bytes
