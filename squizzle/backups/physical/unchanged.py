"""What fingerprints need not read again: summaries of the log say which blocks changed (docs/adr/0030)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg

from squizzle.backups.files import describe_file
from squizzle.backups.order import Order
from squizzle.backups.physical.log_positions import Snapshot
from squizzle.backups.records import Backup
from squizzle.backups.store import Incoming
from squizzle.backups.wal.names import lsn_number
from squizzle.postgres.access import Connection, connect
from squizzle.postgres.translation import translate_error
from squizzle.proof.ranges import RANGE_BLOCKS, Changes, RangeDigester, TableRanges

RANGES_FILE = "fingerprints.json"
"""Beside a copy: the digests of the ranges of every table, for the next increment."""

READ_DETAIL = "fingerprint_ranges"
"""In a manifest: how many ranges were read, and how many were known."""

_SHARE_OUT = "SELECT set_config('parallel_setup_cost', '0', true), set_config('parallel_tuple_cost', '0', true)"
_FORMAT = 1
_FIRST_WITH_SUMMARIES = 170000
# The server writes a summary within milliseconds of a checkpoint; where that takes longer, reading the rows is as good.
_SUMMARY_S = 20.0
_ASK_EVERY_S = 0.02


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownRanges:
    """The digests of a snapshot's ranges.

    Attributes:
        timeline: The server's.
        version: The server's; another one may write a value in another way.
        database: Number of the database, which another one of the same name does not have.
        since: A position in the log; whatever the snapshot did not see was written behind it.
        turn: How many increments there have been since the whole copy.
        tables: By qualified name.
    """

    timeline: int
    version: int
    database: int
    since: str
    turn: int
    tables: dict[str, TableRanges]


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A checkpoint of the server.

    Attributes:
        lsn: Where the log of what came after it begins.
        next_number: Above all numbers of transactions that were given out before that position.
    """

    lsn: str
    next_number: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Before:
    """What is to be known before a copy begins.

    Attributes:
        checkpoint: The last one; the copy makes another one.
        known: The ranges of the copy that this one builds on; None where nothing is known of them.
    """

    checkpoint: Checkpoint
    known: KnownRanges | None


def last_checkpoint(connection: Connection) -> Checkpoint:
    """The server's last checkpoint. Nothing is changed.

    Raises:
        DatabaseError: The session was lost.
    """
    try:
        row = connection.execute("SELECT redo_lsn::text, next_xid FROM pg_control_checkpoint()").fetchone()
    except psycopg.Error as exc:
        raise translate_error(exc, doing="see when the server's last checkpoint was") from exc
    lsn, number = row or ("", "0:0")
    epoch, _, low = number.partition(":")
    return Checkpoint(lsn=lsn, next_number=(int(epoch) << 32) + int(low))


def read_ranges(manifest: Path | None, base: Backup | None) -> KnownRanges | None:
    """What the copy that an increment builds on knows of its ranges; None when it knows nothing.

    Args:
        manifest: The server's manifest in the fetched copy.
        base: The copy.
    """
    if manifest is None or base is None or base.digest is None:
        return None
    path = manifest.with_name(RANGES_FILE)
    stored = next((file for file in base.files if file.path == RANGES_FILE), None)
    # One that was damaged is not worth a word here: everything is read, and checking the copy finds it.
    if stored is None or not path.is_file() or describe_file(path, path.parent) != stored:
        return None
    document = json.loads(path.read_text(encoding="utf-8"))
    if (document.get("format"), document.get("range_blocks")) != (_FORMAT, RANGE_BLOCKS):
        return None
    tables = {
        name: TableRanges(
            filenode=one["filenode"],
            columns=one["columns"],
            ranges=tuple((int(rows), int(digest)) for rows, digest in one["ranges"]),
        )
        for name, one in document["tables"].items()
    }
    return KnownRanges(
        timeline=document["timeline"],
        version=document["version"],
        database=document["database"],
        since=document["since"],
        turn=len(base.chain),
        tables=tables,
    )


@contextmanager
def range_digester(
    order: Order, connection: Connection, before: Before, *, timeline: int, incoming: Incoming
) -> Iterator[RangeDigester | None]:
    """A way to digest tables in the snapshot of a session that reads only what changed since the known ranges.

    What it found is written into the backup at the end of the block, for the next increment.

    Args:
        order: The server.
        connection: With a snapshot open; this session must have begun it.
        before: What was known before the copy.
        timeline: The server's.
        incoming: The backup.

    Yields:
        None where the server keeps no summaries: then no increment will ever ask for ranges.

    Raises:
        DatabaseError: The session was lost; nothing was published.
    """
    database = _begin(connection)
    if database is None:
        yield None
        return
    since = _unseen_since(connection, before.checkpoint)
    known = before.known
    version = connection.info.server_version
    here = (timeline, version, database)
    is_same = known is not None and (known.timeline, known.version, known.database) == here
    changes = _changes_since(order, known) if known is not None and is_same else None
    digester = RangeDigester(known.tables, changes, turn=known.turn) if known else RangeDigester({}, None)
    yield digester
    if since:
        document = {
            "format": _FORMAT,
            "range_blocks": RANGE_BLOCKS,
            "timeline": timeline,
            "version": version,
            "database": database,
            "since": since,
            "tables": {name: asdict(one) for name, one in digester.found.items()},
        }
        (incoming.folder / RANGES_FILE).write_text(json.dumps(document, separators=(",", ":")), encoding="utf-8")


def _begin(connection: Connection) -> int | None:
    """Prepare the session to read ranges; returns the database's number, or None where no summaries are kept."""
    try:
        if connection.info.server_version < _FIRST_WITH_SUMMARIES or _ask(connection, "SHOW summarize_wal") != "on":
            return None
        # Else a handful of ranges is thought not to be worth starting a worker for.
        connection.execute(_SHARE_OUT)
        return int(_ask(connection, "SELECT oid::bigint FROM pg_database WHERE datname = current_database()"))
    except psycopg.Error as exc:
        raise translate_error(exc, doing="see what changed since the last copy") from exc


def _unseen_since(connection: Connection, earlier: Checkpoint) -> str:
    """A position in the log that everything this session's snapshot does not see was written behind; or none.

    If all transactions that the snapshot does not see have higher numbers than were given out before a checkpoint, they
    began, and so wrote, after it. The newer the checkpoint the less is read next time, and the sooner one was running.
    """
    oldest = Snapshot.from_text(_ask(connection, "SELECT pg_current_snapshot()::text")).xmin
    return next((one.lsn for one in (last_checkpoint(connection), earlier) if oldest >= one.next_number), "")


_SUMMARIES = """
    SELECT s.start_lsn::text, s.end_lsn::text FROM pg_available_wal_summaries() s
    WHERE s.tli = %(timeline)s AND s.end_lsn > %(since)s::pg_lsn AND s.start_lsn < %(until)s::pg_lsn
    ORDER BY s.start_lsn  -- not the text: 0/10000000 comes behind 0/F000000
"""
_BLOCKS = """
    SELECT b.relfilenode::bigint, b.relblocknumber / %(size)s, bool_or(b.is_limit_block)
    FROM pg_available_wal_summaries() s, pg_wal_summary_contents(s.tli, s.start_lsn, s.end_lsn) b
    WHERE s.tli = %(timeline)s AND s.end_lsn > %(since)s::pg_lsn AND s.start_lsn < %(until)s::pg_lsn
      AND b.relforknumber = 0 AND b.reldatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
    GROUP BY 1, 2
"""


def _changes_since(order: Order, known: KnownRanges) -> Changes | None:
    """What changed in the database from then until now; None when the server does not know, or does not tell us."""
    try:
        with closing(connect(order.access, order.target.database, purpose="backup log", read_only=True)) as session:
            until = _ask(session, "SELECT pg_current_wal_insert_lsn()::text")
            # A summary ends at a checkpoint.
            session.execute("CHECKPOINT")
            span: dict[str, int | str] = {"timeline": known.timeline, "since": known.since, "until": until}
            if not _wait_for_summaries(session, span):
                return None
            rows = session.execute(_BLOCKS, {**span, "size": RANGE_BLOCKS}).fetchall()
            if not _are_summarised(session, span):  # the server removed an old one before it was read
                return None
    except psycopg.Error:  # not allowed (CHECKPOINT needs pg_checkpoint), or a summary was removed meanwhile
        return None
    anew = frozenset(filenode for filenode, _, limit in rows if limit)
    if 0 in anew:  # the whole database got other files
        return None
    ranges: dict[int, set[int]] = {}
    for filenode, number, _ in rows:
        ranges.setdefault(filenode, set()).add(number)
    return Changes(ranges={filenode: frozenset(found) for filenode, found in ranges.items()}, anew=anew)


def _wait_for_summaries(session: Connection, span: Mapping[str, int | str]) -> bool:
    deadline = time.monotonic() + _SUMMARY_S
    while time.monotonic() < deadline:
        covered = _are_summarised(session, span)
        if covered is not None:
            return covered
        time.sleep(_ASK_EVERY_S)
    return False


def _are_summarised(session: Connection, span: Mapping[str, int | str]) -> bool | None:
    """Whether summaries cover a span of the log without a gap; None while the last ones are not written yet."""
    position = _position(str(span["since"]))
    for start, end in session.execute(_SUMMARIES, span):
        if _position(start) > position:
            return False  # one is missing, and older ones never come back
        position = max(position, _position(end))
    return True if position >= _position(str(span["until"])) else None


def _position(lsn: str) -> int:
    number = lsn_number(lsn)
    if number is None:
        raise AssertionError(f"the server calls {lsn!r} a position in its log")
    return number


def _ask(session: Connection, query: str) -> str:
    row = session.execute(query.encode()).fetchone()
    return str(row[0]) if row else ""
