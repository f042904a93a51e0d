"""What travels: sessions as the server shows them, and who waits for whom."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from squizzle.analysis.locks.modes import LockMode, lock_mode
from squizzle.durations import words

_IDLE = frozenset({"idle in transaction", "idle in transaction (aborted)"})
_CLIENT = "client backend"
_AUTOVACUUM = "autovacuum worker"
# How autovacuum calls a run that must not be ended: without it the cluster stops taking writes one day.
_WRAPAROUND = "(to prevent wraparound)"
_QUERY_WIDTH = 120
_PASSWORD = re.compile(r"(\bPASSWORD\s+)(?:E?'(?:[^']|'')*'?|\$\w*\$.*)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """One session of a server, with its parallel workers.

    Attributes:
        pid: Of its server process.
        backend_start: When that process began; with `pid` it is this session and no later one of the same number. None
            where we may not see it.
        kind: `client backend`, `walsender`, `autovacuum worker` …; empty where we may not see it.
        database: The database it is in; empty for none.
        user: Its role.
        is_superuser: Whether that role is one.
        application: Its application_name; whoever connects chooses it.
        client: Its address; empty for a socket of the same machine.
        state: active, idle in transaction …
        query: The beginning of its last query.
        transaction_start: When its transaction began; None outside of one.
        query_start: When its last query began.
        state_change: When it came into this state.
        wait_kind: The kind of thing it waits for: `Lock`, `Client`, `IO` …
        workers: Parallel workers that work for it.
        holds_our_lock: Whether it holds an advisory lock of Squizzle's: such a session works for a run of ours.
    """

    pid: int
    backend_start: datetime | None
    kind: str
    database: str
    user: str
    is_superuser: bool
    application: str
    client: str
    state: str
    query: str
    transaction_start: datetime | None
    query_start: datetime | None
    state_change: datetime | None
    wait_kind: str = ""
    workers: int = 0
    holds_our_lock: bool = False

    @property
    def is_hidden(self) -> bool:
        """Whether we may not see what it does: it is another role's, and we are no member of pg_read_all_stats."""
        return not self.kind or self.backend_start is None

    @property
    def is_client(self) -> bool:
        """Whether somebody outside of the server is at the other end."""
        return self.kind == _CLIENT

    @property
    def is_idle(self) -> bool:
        """Whether it has a transaction open and does nothing in it."""
        return self.state in _IDLE

    @property
    def is_autovacuum(self) -> bool:
        """Whether it is autovacuum."""
        return self.kind == _AUTOVACUUM

    @property
    def prevents_wraparound(self) -> bool:
        """Whether it is the autovacuum that keeps the cluster from stopping."""
        return self.is_autovacuum and _WRAPAROUND in self.query

    def who(self) -> str:
        """Which session, in a few words."""
        names = [self.application or self.kind or "no name", self.user, self.client]
        return f"session {self.pid} ({', '.join(name for name in names if name)})"

    def what(self, now: datetime) -> str:
        """What it does since when; no more of its query than the beginning."""
        if self.is_hidden:
            return "what it does since when is shown to members of pg_read_all_stats only"
        parts = [f"{self.state or 'working'} for {_age(now, self.state_change)}"]
        if self.transaction_start is not None:
            parts.append(f"its transaction is open for {_age(now, self.transaction_start)}")
        if self.workers:
            parts.append(f"{self.workers} parallel workers")
        return f"{', '.join(parts)}: {query_words(self.query) or 'no query'}"


def query_words(query: str) -> str:
    """The beginning of a query on one line, for a report; without what stands behind PASSWORD."""
    text = _PASSWORD.sub(r"\1'…'", " ".join(query.split()))
    return text if len(text) <= _QUERY_WIDTH else f"{text[:_QUERY_WIDTH]}…"


def _age(now: datetime, since: datetime | None) -> str:
    return "an unknown time" if since is None else words(now - since)


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedTransaction:
    """A transaction that was prepared for two-phase commit: it has no session, and its locks stay until it is decided.

    Attributes:
        gid: The name that its transaction manager gave it.
        owner: Who prepared it.
        since: When.
    """

    gid: str
    owner: str
    since: datetime

    @property
    def commands(self) -> tuple[str, str]:
        """What ends it, one way or the other; which, its transaction manager has to know."""
        name = self.gid.replace("'", "''")
        return f"COMMIT PREPARED '{name}'", f"ROLLBACK PREPARED '{name}'"


@dataclass(frozen=True, kw_only=True, slots=True)
class LockWait:
    """What one session waits for.

    Attributes:
        pid: The session that waits; the leader where a parallel worker does.
        since: Since when; None in the first moment.
        kind: `relation`, `transactionid`, `tuple`, `advisory` …
        relation: Name of the table or index; empty when it waits for something else.
        mode: The mode that it asks for, as `pg_locks` calls it.
        blockers: Numbers of the sessions that hold it, or that stand before this one in its queue.
        prepared: Names of the prepared transactions that hold it.
    """

    pid: int
    since: datetime | None
    kind: str
    relation: str
    mode: str
    blockers: tuple[int, ...]
    prepared: tuple[str, ...] = ()

    @property
    def lock_mode(self) -> LockMode | None:
        """The mode on a table; None for other things."""
        return lock_mode(self.mode) if self.kind == "relation" else None

    def words(self) -> str:
        """What it waits for, in a few words."""
        if self.relation and self.kind == "relation":
            mode = self.lock_mode
            return f"{mode.value if mode else self.mode} on {self.relation}"
        if self.relation:
            return f"a row of {self.relation}"
        return _KINDS.get(self.kind, f"a lock ({self.kind})")


_KINDS = {
    "transactionid": "the end of a transaction that changed the same row",
    "virtualxid": "the end of a transaction",
    "advisory": "an advisory lock",
    "object": "an object of the catalogue",
    "extend": "a table to be made longer",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class LockPicture:
    """Who waits for whom in one database, at one moment.

    Attributes:
        database: Its name.
        at: The server's clock.
        sessions: Every session of the cluster but our own, by pid.
        waits: Who waits in this database, the longest first.
        prepared: The prepared transactions of this database.
    """

    database: str
    at: datetime
    sessions: tuple[Session, ...] = ()
    waits: tuple[LockWait, ...] = ()
    prepared: tuple[PreparedTransaction, ...] = ()

    def session(self, pid: int) -> Session | None:
        """The session of that number; None when it has gone."""
        return next((one for one in self.sessions if one.pid == pid), None)

    @property
    def longest_wait(self) -> timedelta:
        """How long the one who waits longest has waited."""
        return max((self.at - one.since for one in self.waits if one.since), default=timedelta())
