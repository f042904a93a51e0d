"""A second session that watches the one that migrates: who blocks it, since when, and how far a long statement is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, replace
from datetime import timedelta
from types import TracebackType
from typing import Self

import psycopg

from squizzle.analysis.locks.modes import LockMode, lock_mode
from squizzle.analysis.locks.records import RelationLock, RelationName
from squizzle.durations import words
from squizzle.errors import ConnectionFailedError
from squizzle.migrations.statement_headway import Progress, StatementHeadway
from squizzle.postgres.access import Connection, second_session, server_pid
from squizzle.postgres.sql_files import load_sql

# pg_blocking_pids stops the lock manager for a moment, so it is asked only about a statement that takes a while, and
# less often the longer it takes: 10 ms apart at first (a lock_timeout is 50 ms), half a second in the end.
_GRACE_S = 0.012
_FASTEST_S = 0.01
_SLOWEST_S = 0.5
_SLOWING = 1.3
_IDLE_S = 0.004
_PROGRESS_EVERY_S = 1.0
_PLAN_ONCE_FROM = 3
# How often a statement outside a transaction is looked at when somebody follows it: its locks may be short.
_FOLLOWED_FASTEST_S = 0.0002
_FOLLOWED_SLOWEST_S = 0.05
_WAITS_FOR = "SELECT %(holder)s::int = ANY (pg_blocking_pids(%(pid)s))"
_ALL_LOCKS = (
    "SELECT relation::bigint, mode, granted FROM pg_locks"
    " WHERE pid = %(pid)s AND locktype = 'relation' AND database <> 0"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Blocker:
    """One session that holds what ours waits for.

    Attributes:
        pid: Of its server process.
        application: Its application_name.
        user: Its role.
        state: active, idle in transaction …
        query: The beginning of its last query.
        transaction_age: How long its transaction has been open.
        state_age: How long it has been in this state: for an active one, how old its query is.
        kind: `client backend`, `autovacuum worker` …; empty where all but its user and application is hidden from us.
        transaction: The server's number of its transaction, for telling one from the next; empty when not asked for.
    """

    pid: int
    application: str
    user: str
    state: str
    query: str
    transaction_age: timedelta
    state_age: timedelta
    kind: str
    transaction: str = ""

    @property
    def is_hidden(self) -> bool:
        """Whether we may not see what it does: it is another role's, and we are no member of pg_read_all_stats."""
        return not self.kind

    def sentence(self) -> str:
        """Who blocks, in one line; no more of the query than its beginning."""
        who = f"session {self.pid} ({self.application or self.kind or 'no name'}, {self.user or 'no user'})"
        if self.is_hidden:
            return f"{who}; what it does since when is shown to members of pg_read_all_stats only"
        state = f"{self.state or 'working'} for {words(self.state_age)}"
        open_for = f"its transaction is open for {words(self.transaction_age)}"
        return f"{who} is {state}, {open_for}: {self.query or 'its query may not be seen'}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wait:
    """What our session was last seen waiting for.

    Attributes:
        relation: Name of the table or index; empty when it waits for a transaction.
        relation_id: Its OID; 0 when it waits for a transaction.
        mode: The lock mode it asks for; None when it waits for a transaction.
        blockers: Who holds it.
    """

    relation: str
    relation_id: int
    mode: LockMode | None
    blockers: tuple[Blocker, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenLock:
    """One lock of the watched session, as it was seen again and again while a statement ran.

    Attributes:
        relation_id: OID of the relation.
        mode: Which.
        since: When it was first seen held or asked for, as `time.monotonic` says.
        granted: When it was first seen held; None when it never was.
        until: When it was last seen.
    """

    relation_id: int
    mode: LockMode
    since: float
    granted: float | None
    until: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Followed:
    """What was seen of one statement.

    Attributes:
        waits: How long it was seen waiting for each lock, in seconds, by OID and mode.
        locks: What it was seen to lock; only of a statement whose locks are sampled.
        held_up: How long it was made to wait (`SessionWatch.hold_up`), at most, in seconds.
    """

    waits: Mapping[tuple[int, LockMode], float]
    locks: tuple[SeenLock, ...]
    held_up: float = 0.0


class SessionWatch:
    """Watches one session from another, in a thread, as a context manager.

    Args:
        connection: The watching session, in the same database as the watched one where possible (relation names).
        pid: The watched session's server process.
        on_progress: Told about once a second how far a long statement is.
        sees_relations: Whether both sessions are in one database, so that relations have names here.
    """

    def __init__(
        self, connection: Connection, pid: int, on_progress: Callable[[str], None], *, sees_relations: bool = True
    ) -> None:
        self.connection = connection
        self.sees_relations = sees_relations
        self._pid = pid
        self._headway = StatementHeadway(on_progress)
        self._since: float | None = None
        self._waited = 0.0
        self._last: Wait | None = None
        self._sampling = False
        self._follows = False
        self._holder = 0
        self._held_up = 0.0
        self._release: Callable[[], None] = lambda: None
        self._looked_at = 0.0
        self._asked_at = 0.0
        self._waits: dict[tuple[int, LockMode], float] = {}
        self._seen: dict[tuple[int, LockMode], SeenLock] = {}
        self._locks: dict[RelationName, LockMode] = {}
        self._guard = threading.Lock()
        self._stop = threading.Event()
        self._begun = threading.Event()
        context = copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._run,), name="session watch", daemon=True)
        self.failure = ""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._begun.set()
        self._thread.join()
        self.connection.close()

    def statement_begins(self, *, sample_locks: bool = False) -> None:
        """From now on the watched session is working on a statement.

        Args:
            sample_locks: Note what it locks while it works: a statement outside a transaction holds nothing afterwards.
        """
        self._last = None
        self._sampling = sample_locks
        self._since = time.monotonic()
        if self._follows:
            with self._guard:
                self._waits, self._seen, self._held_up = {}, {}, 0.0
            if sample_locks:
                self._begun.set()

    def statement_ended(self) -> None:
        """The watched session works on nothing."""
        self._since = None
        self._holder = 0

    def note_locks(self) -> None:
        """Note what the watched session locks now; at the end of a transaction that is all that it locked.

        Raises:
            psycopg.Error: The watching session was lost.
        """
        rows = self.connection.execute(load_sql("squizzle.migrations", "observed_locks"), {"pid": self._pid}).fetchall()
        with self._guard:
            for schema, name, mode in rows:
                relation, found = RelationName(schema=schema, name=name), lock_mode(mode)
                if found is not None:
                    self._locks[relation] = max(self._locks.get(relation, found), found, key=lambda one: one.strength)

    def take_locks(self) -> tuple[RelationLock, ...]:
        """What was noted since the last call, the strongest lock of each relation."""
        with self._guard:
            found, self._locks = self._locks, {}
        return tuple(RelationLock(relation=relation, mode=mode) for relation, mode in sorted(found.items()))

    def follow(self) -> None:
        """From now on note each lock that a statement waits for, too, and sample from a statement's very begin.

        Raises:
            psycopg.Error: The watching session was lost.
        """
        if self._follows:
            return
        # A session's first question takes milliseconds, in which a short statement comes and goes.
        for _ in range(_PLAN_ONCE_FROM + 1):
            self.connection.execute(_ALL_LOCKS, {"pid": self._pid}).fetchall()
        self._follows = True

    def hold_up(self, holder: int, release: Callable[[], None]) -> None:
        """Call `release` once the next statement is seen waiting for a session that is there for that only.

        Args:
            holder: Its server process; waiting for it does not count.
            release: Called in the thread that watches.
        """
        self._holder, self._release = holder, release

    def followed(self) -> Followed:
        """What was seen of the statement that ended last."""
        with self._guard:
            return Followed(waits=dict(self._waits), locks=tuple(self._seen.values()), held_up=self._held_up)

    @property
    def waited(self) -> timedelta:
        """How long statements were seen waiting for locks, in all."""
        return timedelta(seconds=self._waited)

    @property
    def last_wait(self) -> Wait | None:
        """What the current or last statement was seen waiting for; None when it was not seen waiting."""
        return self._last

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._watch_one()
        except psycopg.Error as exc:
            # Watching is a service to the reader of a message; losing it must not stop the migration.
            self.failure = f"the watching session was lost: {exc}"
        finally:
            self._headway.end()

    def _watch_one(self) -> None:
        pause = 0.0
        told_at = time.monotonic()
        while not self._stop.is_set():
            since = self._since
            follows = self._follows and self._sampling
            if since is None:
                self._headway.end()
            if since is None or (time.monotonic() - since < _GRACE_S and not follows):
                self._begun.wait(_IDLE_S)
                self._begun.clear()
                pause = 0.0
                continue
            fastest, slowest = (_FOLLOWED_FASTEST_S, _FOLLOWED_SLOWEST_S) if follows else (_FASTEST_S, _SLOWEST_S)
            pause = min(slowest, max(fastest, pause * _SLOWING))
            if follows:
                self._follow_one(since)
            if time.monotonic() - since >= _GRACE_S:
                self._look(pause, since)
                if self._sampling:
                    self.note_locks()
            if time.monotonic() - max(told_at, since) > _PROGRESS_EVERY_S:
                told_at = time.monotonic()
                self._tell_progress()
            self._stop.wait(pause)

    def _look(self, pause: float, since: float) -> None:
        rows = self.connection.execute(load_sql("squizzle.migrations", "blockers"), {"pid": self._pid}).fetchall()
        before, self._looked_at = max(self._looked_at, since), time.monotonic()
        if not rows or self._holder in {row[3] for row in rows}:
            return
        self._waited += pause
        relation, relation_id, mode = rows[0][:3]
        self._last = Wait(
            relation=relation or "",
            relation_id=relation_id or 0,
            mode=lock_mode(mode or ""),
            blockers=tuple(_blocker(*row[3:]) for row in rows),
        )
        if self._follows and self._last.mode is not None:
            key = (self._last.relation_id, self._last.mode)
            with self._guard:
                if self._since == since:  # else the next statement has begun
                    self._waits[key] = self._waits.get(key, 0.0) + self._looked_at - before

    def _follow_one(self, since: float) -> None:
        """Note what the statement locks; once it waits for a session that is there for that only, end the wait."""
        holder, before = self._holder, max(self._asked_at, since)
        self._asked_at = time.monotonic()
        parameters = {"pid": self._pid, "holder": holder}
        waits = bool(holder) and self.connection.execute(_WAITS_FOR, parameters).fetchone() == (True,)
        self._sample(since)
        if waits:
            self._release()
            with self._guard:
                self._held_up = time.monotonic() - before
            self._holder = 0

    def _sample(self, since: float) -> None:
        """Note every lock of the watched session, weak ones and those that it waits for as well."""
        rows = self.connection.execute(_ALL_LOCKS, {"pid": self._pid}).fetchall()
        now = time.monotonic()
        with self._guard:
            if self._since != since:
                return  # the statement is over, and what was seen may be the next one's
            for relation_id, name, granted in rows:
                mode = lock_mode(name)
                if mode is None:
                    continue
                seen = self._seen.get((relation_id, mode)) or SeenLock(
                    relation_id=relation_id, mode=mode, since=now, granted=None, until=now
                )
                first = seen.granted if seen.granted is not None or not granted else now
                self._seen[relation_id, mode] = replace(seen, granted=first, until=now)

    def _tell_progress(self) -> None:
        row = self.connection.execute(load_sql("squizzle.migrations", "progress"), {"pid": self._pid}).fetchone()
        if row is not None:
            self._headway.see(Progress(*row))


def _blocker(
    pid: int,
    application: str,
    user: str,
    state: str,
    query: str,
    age: timedelta | None,
    state_age: timedelta | None,
    kind: str,
) -> Blocker:
    return Blocker(
        pid=pid,
        application=application or "",
        user=user or "",
        state=state or "",
        query=" ".join((query or "").split()),
        transaction_age=age or timedelta(),
        state_age=state_age or timedelta(),
        kind=kind or "",
    )


def long_holders(connection: Connection, wait: Wait, *, older_than: timedelta) -> tuple[Blocker, ...]:
    """Who holds a conflicting lock in a transaction that has been open for a while; asks without queueing.

    Sessions that hide their age from us are among them, however young they are.

    Args:
        connection: The session that wants the lock, outside a transaction.
        wait: What it wants.
        older_than: Shorter transactions end by themselves within one try.
    """
    parameters = {
        "relation": wait.relation_id,
        "modes": [mode.in_pg_locks for mode in wait.mode.conflicts] if wait.mode else [],
        "older_than": older_than,
    }
    rows = connection.execute(load_sql("squizzle.migrations", "long_holders"), parameters).fetchall()
    return tuple(replace(_blocker(*row[:-1]), transaction=row[-1] or "") for row in rows)


@contextmanager
def watching(connection: Connection, on_progress: Callable[[str], None]) -> Iterator[SessionWatch | None]:
    """Watch a session from a second one; None when the server lets no second one in (then nobody knows who blocks)."""
    try:
        second = second_session(connection, purpose="watch")
    except ConnectionFailedError:
        yield None
        return
    same = second.info.dbname == connection.info.dbname
    # It asks the same few questions about system catalogues again and again: to plan one costs more than to answer it.
    second.prepare_threshold = _PLAN_ONCE_FROM
    with SessionWatch(second, server_pid(connection), on_progress, sees_relations=same) as watch:
        yield watch
