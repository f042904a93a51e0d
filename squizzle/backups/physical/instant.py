"""Finding a snapshot of SQL and the position in the write-ahead log that stand for the same moment.

A copy of a cluster can be recovered to any position after the end of the backup, and has then exactly what was
committed before that position. For its fingerprints to hold, a snapshot is needed that sees exactly these commits. It
is taken after the end of the backup, and the log from there on is added to the backup (docs/adr/0013).
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from squizzle.backups.order import Order
from squizzle.backups.physical.log_positions import Snapshot, position_of, read_commits, segment_of
from squizzle.backups.wal.names import lsn_number, lsn_text
from squizzle.backups.wal.work_folder import put_before
from squizzle.errors import ProgramNotUsableError, ToolError
from squizzle.postgres.access import Connection, connect
from squizzle.postgres.client_run import run_client
from squizzle.postgres.translation import translate_error
from squizzle.processes import bare_environment
from squizzle.proof.digests import read_sequences, read_snapshot

_PARTIAL = ".partial"
# With 24 clients that never rest, the first try succeeded in 10 of 10 copies (measured on 18.6 with fsync on).
_ATTEMPTS = 10
_PAUSE_S = 0.05
_WALDUMP_TIMEOUT_S = 120.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Instant:
    """A moment that a snapshot and a position in the log have in common.

    Attributes:
        lsn: A copy that was recovered to exactly before the record that begins here, or behind here, has what the
            snapshot sees; empty when no such moment was found.
        why_not: Why none was found.
        sequences: How far every sequence had counted before that moment at least.
    """

    lsn: str
    why_not: str = ""
    sequences: Mapping[str, int | None] = field(default_factory=dict)


class LogTail:
    """The write-ahead log from the end of a backup on, received piece by piece into a folder.

    Args:
        order: The server; something must keep its log meanwhile (`keep_log`).
        folder: An empty folder.
        timeline: The server's.
        stop_lsn: Where the log that the copy itself holds ends.
    """

    def __init__(self, order: Order, folder: Path, *, timeline: int, stop_lsn: str) -> None:
        self._order = order
        self._folder = folder
        self._timeline = timeline
        self._session = connect(order.access, order.target.database, purpose="backup log", read_only=True)
        self._segment_bytes = int(self._ask("SELECT setting FROM pg_settings WHERE name = 'wal_segment_size'"))
        last = segment_of(_number(stop_lsn), self._segment_bytes)
        self._start = (last + 1) * self._segment_bytes
        # The copy holds this one. pg_receivewal goes on behind the last segment in its folder, and begins where the
        # server is now when there is none: by then some would be missing.
        self._held = put_before(folder, timeline, last + 1, self._segment_bytes)

    def close(self) -> None:
        """End the session."""
        self._session.close()

    def segments(self) -> dict[str, Path]:
        """What was received: file by segment's name. The last one is whole only up to the instant."""
        found = (path for path in sorted(self._folder.iterdir()) if path.is_file() and path != self._held)
        return {path.name.removesuffix(_PARTIAL): path for path in found}

    def place(self, seen: str) -> Instant:
        """The position that a snapshot stands for, with the log received until behind it.

        Args:
            seen: `pg_current_snapshot()` of a transaction that still is open.

        Raises:
            DatabaseError, ToolError: The session was lost, or the log cannot be received.
        """
        quiet = self._position_if_quiet(seen)
        # A commit that waits for a standby is in the log and is not seen, for how long nobody knows.
        waiting = int(self._ask("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"))
        end = self._mark()
        self._receive(end)
        if quiet:
            return Instant(lsn=quiet)
        if waiting:
            return Instant(lsn="", why_not="commits were waiting for a synchronous standby")
        try:
            program = self._order.programs.path("pg_waldump")
        except ProgramNotUsableError:
            why = "transactions were running all the time, and pg_waldump is missing beside pg_basebackup"
            return Instant(lsn="", why_not=why)
        found = position_of(Snapshot.from_text(seen), read_commits(self._dump(program, end)))
        return Instant(lsn=found or "", why_not="" if found else "commits became visible in another order than written")

    def _position_if_quiet(self, seen: str) -> str:
        """Where the log ends now, if it holds no commit that the snapshot does not see; asked in this very order.

        A transaction holds the lock on its number from before it writes until after it became visible. So when no such
        lock is held after the position was read, all commits before it are visible; and when the snapshot is still the
        same after that, none of them became visible only since it was taken.
        """
        position = self._ask("SELECT pg_current_wal_insert_lsn()")
        holders = int(self._ask("SELECT count(*) FROM pg_locks WHERE locktype = 'transactionid'"))
        again = self._ask("SELECT pg_current_snapshot()")
        snapshot = Snapshot.from_text(seen)
        return position if not holders and again == seen and not snapshot.running else ""

    def _mark(self) -> int:
        """Write one more commit, so that there is a record to stop before; returns up to where the log is on disk.

        A message of a logical kind is no change: nothing reads it.
        """
        self._ask("SELECT set_config('synchronous_commit', 'local', false)")
        self._ask("SELECT pg_logical_emit_message(true, 'squizzle', 'fingerprints')")
        return _number(self._ask("SELECT pg_current_wal_flush_lsn()"))

    def _receive(self, end: int) -> None:
        run_client(
            self._order.programs.path("pg_receivewal"),
            [
                f"--directory={self._folder}",
                f"--endpos={lsn_text(end - 1)}",
                "--no-loop",
                "--no-sync",  # the store makes files durable when it publishes them
                "--no-password",
            ],
            access=self._order.access,
            database=self._order.target.database,
            doing=f"receive the log up to {lsn_text(end)}",
            timeout=self._order.options.timeout,
        )

    def _dump(self, program: Path, end: int) -> str:
        # It wants the segments under their whole names, while pg_receivewal goes on only with what it calls partial.
        view = self._folder / "view"
        view.mkdir(exist_ok=True)
        for old in view.iterdir():
            old.unlink()
        for name, path in self.segments().items():
            (view / name).symlink_to(path)
        done = subprocess.run(
            [
                program,
                f"--path={view}",
                f"--timeline={self._timeline}",
                "--rmgr=Transaction",
                f"--start={lsn_text(self._start)}",
                f"--end={lsn_text(end)}",
            ],
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            env=bare_environment(),
            timeout=_WALDUMP_TIMEOUT_S,
        )
        if done.returncode != 0:
            raise ToolError(
                f"the log behind the copy cannot be read: {done.stderr.strip()}; nothing was published",
                command=program.name,
                exit_code=done.returncode,
                stderr_tail=done.stderr[-2000:],
                hint="run the same again",
            )
        return done.stdout

    def _ask(self, query: str) -> str:
        try:
            row = self._session.execute(query.encode()).fetchone()
        except psycopg.Error as exc:
            raise translate_error(exc, doing="follow the server's log") from exc
        return str(row[0]) if row else ""


def _number(lsn: str) -> int:
    number = lsn_number(lsn)
    if number is None:
        raise AssertionError(f"the server calls {lsn!r} a position in its log")
    return number


@contextmanager
def exact_snapshot(connection: Connection, log: LogTail) -> Iterator[Instant]:
    """Open a snapshot whose position in the log is known, for the length of the block; several are tried.

    Args:
        connection: A session outside any transaction; the snapshot is its.
        log: The log from the end of the backup on.

    Yields:
        The moment; without a position when none of the snapshots had one.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        # Before the position: they follow no snapshot, and the copy may stand higher, never lower.
        sequences = read_sequences(connection)
        with read_snapshot(connection):
            row = connection.execute("SELECT pg_current_snapshot()").fetchone()
            instant = log.place(str(row[0]) if row else "")
            if instant.lsn or attempt == _ATTEMPTS:
                yield Instant(lsn=instant.lsn, why_not=instant.why_not, sequences=sequences)
                return
        time.sleep(_PAUSE_S)


def keep_log(connection: Connection) -> str:
    """Have the server keep its log until the session ends or the slot is dropped, whichever comes first.

    A copy takes its log at its end; without this a busy server has removed the first part by then.

    Returns:
        The name of the slot: temporary, so it is gone with the session however that ends.

    Raises:
        DatabaseError: The account may not replicate, or there is no free slot.
    """
    query = (
        "SELECT slot_name FROM pg_create_physical_replication_slot("
        "'squizzle_' || pg_backend_pid(), immediately_reserve => true, temporary => true)"
    )
    try:
        row = connection.execute(query).fetchone()
    except psycopg.Error as exc:
        raise translate_error(
            exc, doing="have the server keep its log for the time of the copy", needs="the attribute REPLICATION"
        ) from exc
    return str(row[0]) if row else ""


def let_log_go(connection: Connection, slot: str) -> None:
    """Let the server remove its log again.

    Raises:
        DatabaseError: The session was lost.
    """
    try:
        connection.execute("SELECT pg_drop_replication_slot(%s)", (slot,))
    except psycopg.Error as exc:
        raise translate_error(exc, doing="let the server's log go") from exc
