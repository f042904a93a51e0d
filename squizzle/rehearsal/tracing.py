"""The lock tracer: what every statement of a run locks, waits for, writes anew, reads and changes, on a copy.

The session that runs the scripts is asked once after each statement, while the statement's transaction is still open:
all that it used is locked then, its catalogue shows what it dropped and made, and its counters what it read. The first
statement of a transaction is not preceded by any question, so a script may still choose its isolation. A statement
outside a transaction leaves no lock behind, so a second session looks at it while it runs (`SessionWatch`): what is
taken for less than about a millisecond may be missed, which `is_lower_bound` says.

What the numbers are:

- *Write-ahead log*: how far the server's log went meanwhile, so what other sessions and autovacuum write is in it. The
  copy is nobody else's.
- *Rows read* are those of every process, parallel workers included; of an index-only scan, only those that the table
  had to be asked for. What the executor itself reads for a statement (what it requires, where a batch ends, which rows
  are saved) counts as the statement's.
- *Held* goes from the statement's begin, less what was waited, to the end of its transaction, so it is never too short.
- *Waited* is the time in the queue, where others queue up behind: sampled, from 12 ms on. What was waited in tries that
  were given up is added to that of the last one.
- A relation goes by the name that it had when the script began. A lock on a TOAST table goes by its table's name. TOAST
  tables are not among the rewrites: they go with their tables.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta

import psycopg
from psycopg.pq import TransactionStatus

from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.records import Statement
from squizzle.migrations.records import Direction, PlannedMigration
from squizzle.migrations.watch import Followed, SeenLock, SessionWatch
from squizzle.postgres.access import Connection
from squizzle.postgres.sql_files import load_sql
from squizzle.rehearsal.records import ScriptTrace
from squizzle.rehearsal.tracing_hold import HarmlessHold
from squizzle.rehearsal.tracing_relations import TracedRelations
from squizzle.rehearsal.tracing_runs import Key, Lock, Run, traced_statement
from squizzle.rehearsal.tracing_temp import TemporaryFiles

_LSN = "pg_catalog.pg_current_wal_insert_lsn() OPERATOR(pg_catalog.-) '0/0'::pg_catalog.pg_lsn"
# Counters of other processes are remembered until the end of a transaction unless one asks for new ones.
_STATE = (
    f"SELECT pg_catalog.pg_stat_clear_snapshot(), {_LSN}, pg_catalog.current_setting('log_temp_files'),"
    " pg_catalog.current_setting('client_min_messages'), pg_catalog.current_setting('is_superuser')"
)
_READING = "; ".join((_STATE, *(load_sql("squizzle.rehearsal", name) for name in ("traced_locks", "traced_made"))))


@contextmanager
def tracing(connection: Connection) -> Iterator[Tracer]:
    """Trace what runs in this session; afterwards its settings are as before.

    Args:
        connection: The session that the executor will use, in autocommit mode and outside a transaction. As a superuser
            it learns the temporary files of each statement; anybody else only those of a whole transaction, which then
            stand at its last statement.

    Raises:
        psycopg.Error: The session was lost.
    """
    files = TemporaryFiles(connection)
    hold = HarmlessHold(connection)
    files.open()
    try:
        yield Tracer(connection, files, hold)
    finally:
        hold.close()
        files.close()


class Tracer:
    """Looks at what a run does: hand it to the run as `Listener(observer=tracer)`. Made by `tracing`."""

    def __init__(self, connection: Connection, files: TemporaryFiles, hold: HarmlessHold) -> None:
        self._connection = connection
        self._files = files
        self._hold = hold
        self._relations = TracedRelations(connection)
        self._traces: list[ScriptTrace] = []
        self._overhead = 0.0
        self._watch: SessionWatch | None = None
        self._step: PlannedMigration | None = None
        self._forget()

    def _forget(self) -> None:
        self._begun = self._now()
        self._overhead_before = self._overhead
        self._lsn = 0
        self._run: Run | None = None
        # Runs of the open transaction, of those that are committed, and of the last one that was rolled back.
        self._open: list[Run] = []
        self._kept: list[Run] = []
        self._failed: list[Run] = []
        self._held: dict[Key, LockMode] = {}
        # What was waited in tries that were given up, by statement.
        self._waited: dict[tuple[int, Key, LockMode], float] = {}

    def take(self) -> tuple[ScriptTrace, ...]:
        """The scripts that ended, or failed, since the last call, in order.

        A script that failed has the statements that were kept, and those of its last try up to the one that failed.
        """
        taken, self._traces = tuple(self._traces), []
        return taken

    # What the executor tells

    def script_begins(self, step: PlannedMigration, watch: SessionWatch | None) -> None:
        """See `StatementObserver`."""
        with self._own_time():
            self._forget()
            self._step, self._watch = step, watch
            if watch is not None:
                watch.follow()
            self._files.begin()
            self._relations.begin()
            self._read_lsn()
        self._begun = self._now()

    def statement_begins(self, statement: Statement, number: int) -> None:
        """See `StatementObserver`."""
        with self._own_time():
            self._forget_failed()
            is_idle = self._connection.info.transaction_status is TransactionStatus.IDLE
            inside = not (is_idle and self._connection.autocommit)
            if is_idle and self._open:
                self._end_transaction(self._since_begin(), committed=True)  # a program committed it
            if not inside:
                self._read_lsn()
                if self._watch and (holder := self._hold.take(statement)):
                    self._watch.hold_up(holder, self._hold.release)
            self._files.take()
            self._run = Run(number=number, statement=statement, transactional=inside)
        self._run.since = self._since_begin()

    def statement_ended(self, *, failed: bool) -> None:
        """See `StatementObserver`."""
        ended = self._since_begin()
        run, self._run = self._run, None
        if run is None:
            raise AssertionError("a statement ended that never began")
        with self._own_time():
            run.duration = ended - run.since
            run.temp = self._files.take()
            if not run.transactional:
                self._hold.release()
            seen = self._watch.followed() if self._watch else Followed(waits={}, locks=())
            held_up = min(seen.held_up, run.duration)
            run.duration -= held_up
            run.waits = self._waits_of(seen)
            status = self._connection.info.transaction_status
            if not failed and status is TransactionStatus.INTRANS:
                self._read_inside(run)
            elif not run.transactional:
                run.locks = self._sampled(seen.locks)
                if not failed:
                    self._read_outside(run)
            self._overhead += held_up
            self._add_waits(run)
            if run.transactional:
                self._open.append(run)
            else:
                (self._failed if failed else self._kept).append(run)

    def transaction_ended(self, *, committed: bool) -> None:
        """See `StatementObserver`."""
        ended = self._since_begin()
        with self._own_time():
            self._end_transaction(ended, committed=committed)

    def script_ended(self) -> None:
        """See `StatementObserver`."""
        ended = self._since_begin()
        if self._step is None:
            raise AssertionError("a script ended that never began")
        runs: dict[int, list[Run]] = {}
        for run in sorted((*self._kept, *self._failed), key=lambda one: one.number):
            runs.setdefault(run.number, []).append(run)
        self._traces.append(
            ScriptTrace(
                version=self._step.migration.version,
                direction=Direction(self._step.direction),
                duration=timedelta(seconds=ended),
                statements=tuple(traced_statement(parts) for parts in runs.values()),
                overhead=timedelta(seconds=self._overhead - self._overhead_before),
            )
        )
        self._forget()

    # Time

    @contextmanager
    def _own_time(self) -> Iterator[None]:
        """What happens within is the tracer's, and its clock stands still."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self._overhead += time.monotonic() - begun

    def _now(self) -> float:
        return time.monotonic() - self._overhead

    def _since_begin(self) -> float:
        return self._now() - self._begun

    # Questions

    def _read_lsn(self) -> None:
        row = self._connection.execute(f"SELECT {_LSN}").fetchone()
        self._lsn = int(row[0]) if row else 0

    def _read_inside(self, run: Run) -> None:
        cursor = psycopg.ClientCursor(self._connection)
        cursor.execute(_READING, self._relations.made)
        self._note_state(run, cursor.fetchone())
        cursor.nextset()
        rows = cursor.fetchall()
        cursor.nextset()
        reading = self._relations.read_held(rows, cursor.fetchone() or (0, 0))
        run.take(reading)
        for key, mode in reading.locks.items():
            held = self._held.get(key)
            if held is None or mode.strength > held.strength:
                self._held[key] = mode
                run.locks.append(Lock(key=key, mode=mode, since=run.since))

    def _read_outside(self, run: Run) -> None:
        self._note_state(run, self._connection.execute(_STATE).fetchone())
        run.temp += self._files.take_sum()
        run.take(self._relations.read_all())

    def _note_state(self, run: Run, row: Sequence[object] | None) -> None:
        if row is None:
            return
        _cleared, lsn, *settings = row
        run.wal, self._lsn = int(str(lsn)) - self._lsn, int(str(lsn))
        self._files.keep_listening(tuple(map(str, settings)))  # type: ignore[arg-type]

    @contextmanager
    def _outside_transaction(self) -> Iterator[None]:
        """A question within opens no transaction, though a program works without autocommit."""
        before = self._connection.autocommit
        if not before:
            self._connection.autocommit = True
        try:
            yield
        finally:
            if not before and not self._connection.closed:
                self._connection.autocommit = False

    # Transactions

    def _end_transaction(self, ended: float, *, committed: bool) -> None:
        runs, self._open, self._held = self._open, [], {}
        for lock in (lock for run in runs for lock in run.locks if lock.granted):
            lock.held = max(0.0, ended - lock.since - lock.waited)
        if committed:
            self._kept.extend(runs)
            self._begin_anew(runs, committed=True)
        else:
            self._failed = runs
            # The error that brought us here must stay the one that is seen.
            with suppress(psycopg.Error):
                self._begin_anew(runs, committed=False)

    def _begin_anew(self, runs: Sequence[Run], *, committed: bool) -> None:
        """What the next transaction is compared with."""
        if self._connection.info.transaction_status is not TransactionStatus.IDLE:
            return
        with self._outside_transaction():
            if committed:
                self._relations.commit()
            else:
                self._relations.roll_back()
            if runs:
                runs[-1].temp += self._files.take_sum()
            self._read_lsn()

    def _forget_failed(self) -> None:
        """What was rolled back is tried again, and counts no more; that it was waited for does."""
        for run in self._failed:
            for (key, mode), seconds in run.waits.items():
                place = (run.number, key, mode)
                self._waited[place] = self._waited.get(place, 0.0) + seconds
        self._failed = []

    # Locks

    def _waits_of(self, seen: Followed) -> dict[tuple[Key, LockMode], float]:
        """What was waited for of what was there before the script."""
        named = ((self._relations.named(oid), mode, seconds) for (oid, mode), seconds in seen.waits.items())
        return {(known.key, mode): seconds for known, mode, seconds in named if known is not None}

    def _add_waits(self, run: Run) -> None:
        for (key, mode), seconds in run.waits.items():
            run.lock_on(key, mode).waited += seconds
        for number, key, mode in [place for place in self._waited if place[0] == run.number]:
            seconds = self._waited.pop((number, key, mode))
            run.waits[key, mode] = run.waits.get((key, mode), 0.0) + seconds
            run.lock_on(key, mode).waited_before += seconds

    def _sampled(self, locks: Sequence[SeenLock]) -> list[Lock]:
        """The strongest lock of each relation that the second session saw."""
        strongest: dict[Key, Lock] = {}
        for seen in sorted(locks, key=lambda one: (one.granted is not None, one.mode.strength)):
            known = self._relations.named(seen.relation_id)
            if known is not None:
                strongest[known.key] = Lock(
                    key=known.key,
                    mode=seen.mode,
                    since=seen.since - self._overhead - self._begun,
                    held=0.0 if seen.granted is None else seen.until - seen.granted,
                    granted=seen.granted is not None,
                )
        return list(strongest.values())
