"""Watching over pg_receivewal: the server's log as it is written, into the archive, for as long as it takes.

pg_receivewal writes what the server sends into a folder, makes it durable with every flush (`--synchronous`) and only
then tells the server, whose slot moves on. We bring finished segments from there into the archive by the code of
`archive-wal`, and start it again when the connection breaks.
"""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from squizzle.backups.wal.archive import WalArchive
from squizzle.backups.wal.names import lsn_text, segment_name
from squizzle.backups.wal.slots import DEFAULT_SLOT, Slot, create_slot, read_slot, refuse_unusable, slot_problems
from squizzle.backups.wal.stored import COMPRESSED
from squizzle.backups.wal.upstream import Upstream, read_upstream, refuse_replaced, start_of, still_has
from squizzle.backups.wal.work_folder import WorkFolder
from squizzle.errors import (
    AuthenticationFailedError,
    ConnectionFailedError,
    DatabaseError,
    InvalidInputError,
    LockTimeoutError,
    RefusedError,
    ToolError,
)
from squizzle.postgres.access import APPLICATION_NAME, Connection, ServerAccess, client_environment, connect
from squizzle.postgres.client_run import tail_of
from squizzle.postgres.programs import find_programs
from squizzle.processes import GuardedProcess

PURPOSE = "receive-wal"
_POLL_S = 0.5
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_TELL_EVERY_S = 60.0
_STORE_PAUSE_S = 10.0
# A connection that lives as long has been made: pg_receivewal says nothing when it begins.
_SETTLED_S = 2.0
_NO_LIMIT_MB = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class Receiving:
    """What is to be received, and how.

    Attributes:
        access: Server and account.
        database: Any database of it, for asking questions.
        folder: Where the log lies until the archive has it; on a disk.
        slot: The replication slot.
        create_slot: Make the slot when there is none.
        allow_unlimited: Make it though nothing limits how much the server will keep for it.
        skip_gap: Where the server has removed what comes next, go on behind the gap.
        compress: As of `archive_wal`.
        programs: A folder of client programs that the user named.
        slot_patience: How long somebody else may still use the slot: the server notices after wal_sender_timeout, 60 s
            unless it is told otherwise, that a receiver is gone whose machine was lost.
    """

    access: ServerAccess
    database: str
    folder: Path
    slot: str = DEFAULT_SLOT
    create_slot: bool = False
    allow_unlimited: bool = False
    skip_gap: bool = False
    compress: bool = False
    programs: Path | None = None
    slot_patience: timedelta = timedelta(seconds=90)


@dataclass(kw_only=True, slots=True)
class Received:
    """What became of it.

    Attributes:
        segments: Files that were brought into the archive.
        last: The last of them; None for none.
        waiting: Whole segments that are in the folder and not yet in the archive.
    """

    segments: int = 0
    last: str | None = None
    waiting: int = 0


@dataclass(kw_only=True, slots=True)
class _Watch:
    """What the parts of one `receive_log` share.

    Attributes:
        has_begun: Whether the log was received for a while: from now on what breaks is made again.
    """

    order: Receiving
    archive: WalArchive
    folder: WorkFolder
    stop: threading.Event
    say: Callable[[str], None]
    done: Received = field(default_factory=Received)
    has_begun: bool = False
    tell_at: float = 0.0
    publish_at: float = 0.0

    def publish(self) -> None:
        """Bring over what is finished. While the archive fails, receiving goes on, and the folder keeps it."""
        if time.monotonic() < self.publish_at:
            return
        try:
            self.folder.publish(self.archive, compress=self.order.compress, on_stored=self._stored)
        except ToolError as exc:
            self.publish_at = time.monotonic() + _STORE_PAUSE_S
            self.say(f"warning: {exc.message}; {self.folder.waiting()} segments wait in {self.folder.folder}")

    def _stored(self, name: str) -> None:
        self.has_begun = True
        self.done.segments += 1
        self.done.last = name


def receive_log(
    order: Receiving, archive: WalArchive, *, stop: threading.Event, on_progress: Callable[[str], None]
) -> Received:
    """Receive a server's log into an archive until we are told to stop. Nothing of the server's databases is changed.

    It begins behind the last segment of the archive, or where the slot begins. What stops the first connection is an
    error; a connection that breaks later is made again, with growing random pauses of at most a minute.

    Args:
        order: What and how.
        archive: Where to.
        stop: Set by whoever wants it to end.
        on_progress: Told about broken connections, once a minute how far it is, and what is wrong with the slot.

    Returns:
        What was received. The slot stays, and the server keeps its log for it.

    Raises:
        InvalidInputError: The slot, the folder, the account or the server cannot be used.
        RefusedError: No limit for a new slot, an invalidated slot, a gap, an old primary, another content in the
            archive. The archive is as whole as before.
        LockTimeoutError: Somebody else uses the slot, and goes on doing so.
        ConnectionFailedError, ToolError: The first connection was not made.
        BackupDamagedError: What was received is no segment; it was not archived.
    """
    watch = _Watch(order=order, archive=archive, folder=WorkFolder(order.folder), stop=stop, say=on_progress)
    with watch.folder.held():
        watch.publish()
        _receive_until_stopped(watch)
        watch.publish_at = 0.0
        watch.publish()
        watch.done.waiting = watch.folder.waiting()
    return watch.done


def _receive_until_stopped(watch: _Watch) -> None:
    pause = _FIRST_PAUSE_S
    busy_since = None
    while not watch.stop.is_set():
        begun = time.monotonic()
        try:
            _receive_once(watch)
        except LockTimeoutError as exc:
            busy_since = busy_since or begun
            if begun - busy_since >= watch.order.slot_patience.total_seconds():
                raise
            reason = exc.message
        except (ConnectionFailedError, ToolError) as exc:
            busy_since = None
            if not watch.has_begun or isinstance(exc, AuthenticationFailedError):
                raise
            if time.monotonic() - begun > _LONGEST_PAUSE_S:
                pause = _FIRST_PAUSE_S  # it had worked for a while
            reason = exc.message
        else:
            continue
        watch.say(f"{reason}; tried again in {pause:.0f} s")
        watch.stop.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311 - so that not all come back at once
        pause = min(2 * pause, _LONGEST_PAUSE_S)


def _receive_once(watch: _Watch) -> None:
    """Receive over one connection until it breaks, which is an error, or until we are told to stop."""
    order = watch.order
    with connect(order.access, order.database, purpose=PURPOSE) as session:
        major = session.info.server_version // 10000
        upstream = read_upstream(session, order.access)
        refuse_replaced(upstream, watch.archive)
        slot = _slot_for(watch, session, upstream)
    refuse_unusable(slot)
    _prepare(watch, upstream, slot)
    program = find_programs(explicit=order.programs, server_major=major).path("pg_receivewal")
    command = [
        str(program),
        f"--directory={watch.folder.place_of(upstream.system_identifier)}",
        f"--slot={order.slot}",
        "--synchronous",  # durable at every flush, and told at once: the slot never moves on before
        "--no-loop",
        "--no-password",
    ]
    with client_environment(order.access, order.database) as environment, tempfile.TemporaryFile() as errors:
        environment |= {"LC_MESSAGES": "C", "PGAPPNAME": f"{APPLICATION_NAME} {PURPOSE}"}
        with GuardedProcess(command, environment=environment, errors=errors) as process:
            code = _watch_over(watch, process)
        watch.publish()
        if code is not None:
            tail = tail_of(errors)
            raise ToolError(
                f"pg_receivewal ended with exit code {code}: {_why(tail)}",
                command="pg_receivewal",
                exit_code=code,
                stderr_tail=tail,
                hint="mend what it complains about, then run the same again; the server keeps its log meanwhile",
            )


def _why(tail: str) -> str:
    """The last thing that it said which is a reason: `disconnected` comes behind a full disk, too (measured)."""
    lines = tail.splitlines()
    reasons = [line for line in lines if not line.endswith("error: disconnected")]
    return (reasons or lines or ["it said nothing"])[-1]


def _slot_for(watch: _Watch, session: Connection, upstream: Upstream) -> Slot:
    order = watch.order
    slot = read_slot(session, order.slot)
    if slot is None:
        if not order.create_slot:
            raise InvalidInputError(
                f"the server has no slot {order.slot}, so it would keep nothing while the receiver is away",
                hint="add --create-slot, or name another: --slot NAME",
            )
        if upstream.keeps_at_most_mb == _NO_LIMIT_MB and not order.allow_unlimited:
            raise RefusedError(
                "nothing limits what the server keeps for a slot: without its receiver its disk fills, and it stops",
                hint="ALTER SYSTEM SET max_slot_wal_keep_size = '20GB' (what its disk can spare);"
                " SELECT pg_reload_conf(); or --allow-unlimited",
            )
        create_slot(session, order.slot)
        slot = read_slot(session, order.slot)
        if slot is None:
            raise InvalidInputError(f"the slot {order.slot} was dropped as soon as it was made", hint="ask who did it")
        watch.say(f"slot {order.slot} was made")
    if slot.limit_bytes is None:
        watch.say(f"warning: {slot.words}: without its receiver it fills the server's disk")
    return slot


def _prepare(watch: _Watch, upstream: Upstream, slot: Slot) -> None:
    """See to it that pg_receivewal begins with the right segment: behind what is here, or behind what is archived."""
    system, size = upstream.system_identifier, upstream.segment_bytes
    begin = watch.folder.prepare(system, watch.archive, size)
    goes_on = begin is not None
    if begin is None:
        begin = start_of(upstream, _segments_in(watch.archive, system), slot.restart_lsn)
    kept = start_of(upstream, (), slot.restart_lsn)
    order = watch.order
    if begin.number < kept.number and not still_has(order.access, order.database, begin, size):
        name = segment_name(begin.timeline, begin.number, size)
        lost = f"the server has removed segment {name}, which comes next: {kept.number - begin.number} of them are lost"
        if not order.skip_gap:
            raise RefusedError(
                f"{lost} (the slot {slot.name} keeps the log from {slot.restart_lsn} on)",
                hint="put them into the store by archive-wal if somebody has them; else add --skip-gap, and take a new"
                " copy of the cluster (squizzle backup physical): older ones cannot be brought past the gap",
            )
        watch.say(f"warning: {lost}; it goes on behind them")
        begin, goes_on = kept, False
    if not goes_on:
        watch.folder.begin_with(system, begin.timeline, begin.number, size)
    watch.say(f"receiving from {segment_name(begin.timeline, begin.number, size)} on; {slot.words}")


def _segments_in(archive: WalArchive, system_identifier: str) -> Iterator[str]:
    return (file.name.removesuffix(COMPRESSED) for file in archive.files(system_identifier))


def _watch_over(watch: _Watch, process: GuardedProcess) -> int | None:
    """Bring segments over until the program ends, and give its exit code; None when we are told to stop."""
    begun = time.monotonic()
    watch.tell_at = begun + _TELL_EVERY_S
    while not watch.stop.is_set():
        code = process.wait(_POLL_S)
        if code is not None:
            return code
        watch.publish()
        now = time.monotonic()
        watch.has_begun = watch.has_begun or now - begun > _SETTLED_S
        if now > watch.tell_at:
            watch.tell_at = now + _TELL_EVERY_S
            _tell(watch)
    return None


def _tell(watch: _Watch) -> None:
    order = watch.order
    try:
        with connect(order.access, order.database, purpose=PURPOSE, read_only=True) as session:
            slot = read_slot(session, order.slot)
    except DatabaseError as exc:
        watch.say(f"warning: {exc.message}")
        return
    position = lsn_text(slot.received_to) if slot and slot.received_to else "nothing"
    waiting = watch.folder.waiting()
    watch.say(f"received up to {position}; {watch.done.segments} segments archived, {waiting} wait")
    for problem in slot_problems(slot, order.slot):
        watch.say(f"warning: {problem}")
