"""The server that the log is received from: who it is, where it is, and whether it is the right one."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, replace

import psycopg
from psycopg import errors, pq

from squizzle.backups.wal.archive import WalArchive
from squizzle.backups.wal.history import Fork, read_forks
from squizzle.backups.wal.names import WalKind, lsn_number, lsn_text, wal_name
from squizzle.errors import InvalidInputError, RefusedError
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.sql_files import load_sql
from squizzle.postgres.translation import translate_error

_LONGEST_HISTORY = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Upstream:
    """A server that sends its log.

    Attributes:
        system_identifier: The cluster.
        timeline: The timeline that it is on.
        forks: The timelines that its own came from, the oldest first.
        position: How far its log is on its disk, a number of bytes.
        segment_bytes: How long its segments are.
        keeps_at_most_mb: `max_slot_wal_keep_size`; -1: no limit.
    """

    system_identifier: str
    timeline: int
    forks: tuple[Fork, ...]
    position: int
    segment_bytes: int
    keeps_at_most_mb: int


def read_upstream(connection: Connection, access: ServerAccess) -> Upstream:
    """Ask a server whether it sends its log to us, and where it is. Nothing is changed.

    Args:
        connection: A session.
        access: How it was reached; one connection for replication is made.

    Raises:
        RefusedError: wal_level = minimal.
        InvalidInputError: It sends its log to nobody, or not to this account.
        ConnectionFailedError: pg_hba.conf does not let us in for replication, or the session was lost.
    """
    try:
        row = connection.execute(load_sql("squizzle.backups.wal", "upstream")).fetchone()
    except psycopg.Error as exc:
        raise translate_error(exc, doing="ask the server about its log") from exc
    if row is None:
        raise AssertionError("a SELECT without FROM returned no row")
    wal_level, senders, may_replicate, user, segment_bytes, keeps_at_most_mb = row
    if wal_level == "minimal":
        raise RefusedError("wal_level = minimal writes no log to receive", hint="set wal_level = replica, restart")
    if not senders:
        raise InvalidInputError("the server sends its log to nobody: max_wal_senders = 0", hint="set it to 10, restart")
    if not may_replicate:
        raise InvalidInputError(
            f"the account {user} may not receive the log", hint=f'a superuser runs: ALTER ROLE "{user}" REPLICATION'
        )
    with _walsender(access, connection.info.dbname) as walsender:
        system, timeline, position, *_ = _ask(walsender, b"IDENTIFY_SYSTEM")
        forks = ""
        if int(timeline) > 1:
            forks = _ask(walsender, b"TIMELINE_HISTORY %d" % int(timeline))[1]
    return Upstream(
        system_identifier=system,
        timeline=int(timeline),
        forks=read_forks(forks),
        position=lsn_number(position) or 0,
        segment_bytes=segment_bytes,
        keeps_at_most_mb=keeps_at_most_mb,
    )


def still_has(access: ServerAccess, database: str, start: Start, segment_bytes: int) -> bool:
    """Whether a server still has a part of its log that no slot makes it keep; asked without a slot.

    A receiver tells where it begins as what it has, and the server moves its slot there, backwards, too. If the server
    has removed that, it then takes the slot for lost, and removes what it did keep (`PhysicalConfirmReceivedLocation`
    of walsender.c; seen on 15 and 18).

    Raises:
        ConnectionFailedError: The connection was not made, or lost.
    """
    command = f"START_REPLICATION PHYSICAL {lsn_text(start.number * segment_bytes)} TIMELINE {start.timeline}"
    with closing(_walsender(access, database)) as walsender:
        try:
            result = walsender.pgconn.exec_(command.encode())
            if result.status != pq.ExecStatus.COPY_BOTH:
                return False  # not in this server's history
            while (answer := walsender.pgconn.get_copy_data(0))[0] > 0:
                if bytes(answer[1][:1]) == b"w":
                    return True
            ended = walsender.pgconn.get_result()
        except psycopg.OperationalError as exc:
            if walsender.pgconn.status != pq.ConnStatus.OK:
                raise translate_error(exc, doing="ask the server for its log") from exc
            return False
    return ended is None or ended.status != pq.ExecStatus.FATAL_ERROR  # else the timeline ends there


def _walsender(access: ServerAccess, database: str) -> Connection:
    to_walsender = replace(access, parameters=(*access.parameters, ("replication", "true")))
    return connect(to_walsender, database, purpose="receive-wal")


def _ask(walsender: Connection, command: bytes) -> list[str]:
    """One row of a command of the replication protocol, which knows no prepared statements."""
    try:
        result = walsender.pgconn.exec_(command)
        if result.status != pq.ExecStatus.TUPLES_OK:
            raise errors.error_from_result(result)
    except psycopg.Error as exc:
        raise translate_error(exc, doing="ask the server about its log") from exc
    return [(result.get_value(0, column) or b"").decode(errors="replace") for column in range(result.nfields)]


def refuse_replaced(upstream: Upstream, archive: WalArchive) -> None:
    """Refuse a server that goes on alone on a timeline that the archive has seen another server leave.

    Raises:
        RefusedError: It is an old primary; what it writes is none of the rows of the new one.
        ToolError: The archive cannot be read.
    """
    for file in archive.files(upstream.system_identifier):
        name = wal_name(file.name)
        if name is None or name.kind is not WalKind.HISTORY or name.timeline <= upstream.timeline:
            continue
        with archive.open(upstream.system_identifier, file.name) as content:
            forks = read_forks(content.read(_LONGEST_HISTORY).decode(errors="replace"))
        for fork in forks:
            if fork.timeline == upstream.timeline and fork.position < upstream.position:
                raise RefusedError(
                    f"this server was replaced: it is on timeline {upstream.timeline} at {lsn_text(upstream.position)},"
                    f" and timeline {name.timeline} of {archive.address} left that at {lsn_text(fork.position)}",
                    hint="connect to the new primary; if a copy that was tried out wrote into this archive, move"
                    f" {file.name} and the segments of that timeline away",
                )


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """Where to begin to receive.

    Attributes:
        timeline: On this timeline.
        number: With this segment.
    """

    timeline: int
    number: int


def start_of(upstream: Upstream, stored: Iterable[str], slot_lsn: str | None) -> Start:
    """Where to begin: behind what is stored; with an empty archive where the slot begins. Pure.

    Args:
        upstream: The server.
        stored: Names of the segments that the archive has.
        slot_lsn: From where on the slot keeps the log; None when it keeps nothing.
    """
    size = upstream.segment_bytes
    names = [name for name in map(wal_name, stored) if name is not None and name.kind is WalKind.SEGMENT]
    child = upstream.timeline
    for timeline, end in ((upstream.timeline, None), *((one.timeline, one.position) for one in upstream.forks[::-1])):
        last = max((name.number(size) for name in names if name.timeline == timeline), default=None)
        if last is not None:
            if end is not None and last + 1 >= end // size:
                # All of it is there but the segment of the fork, which belongs to the timeline that came after.
                return Start(timeline=child, number=end // size)
            return Start(timeline=timeline, number=last + 1)
        child = timeline
    position = upstream.position if slot_lsn is None else lsn_number(slot_lsn) or upstream.position
    return Start(timeline=_timeline_at(upstream, position), number=position // size)


def _timeline_at(upstream: Upstream, position: int) -> int:
    return next((one.timeline for one in upstream.forks if position < one.position), upstream.timeline)
