"""What travels: who would wait for whom, how long, if a script ran now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import RelationName
from squizzle.rehearsal.traffic_records import Holder


class QueueVerdict(StrEnum):
    """What clients would notice, from the best to the worst.

    `not known` stands where nobody has measured how long the lock is held, or nobody counts who comes.
    """

    NOBODY = "nobody notices"
    SHORT = "short"
    UNKNOWN = "not known"
    QUEUE = "would queue"
    EXHAUST = "would exhaust connections"

    @property
    def rank(self) -> int:
        """0 for the best."""
        return tuple(QueueVerdict).index(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class RelationQueue:
    """Who would wait because one statement locks one relation.

    Attributes:
        version: Whose script.
        relation: What is locked.
        table: Whose clients have to wait; of an index its table.
        within: Other tables of the forecast that it is a partition or child of.
        mode: The lock.
        line: Of the statement in its file; 0 where it has none.
        statement: Its beginning, on one line.
        asked: When it was asked for in the rehearsal, from the script's begin; None where nothing was rehearsed.
        held: How long it will be held; None where nothing was rehearsed.
        held_is_least: Whether it may be longer: it was watched from outside.
        scaled: By how much the rehearsed time was multiplied because the table has grown since, on average.
        waits: How long one try stands in the queue until it gets the lock or gives up; clients wait behind it.
        arriving_per_s: Sessions a second that want what the lock keeps from them; None where nobody counts them.
        sessions: How many of those that are connected now wait in the worst moment; None when that cannot be told.
        at_most: How many wait if clients open a connection for each statement that waits; None likewise.
        full_after: When no connection would be left then, from the moment the lock is asked for; None for never.
        blockers: Who keeps us from getting the lock at once, the worst first.
        verdict: What clients notice.
        notes: What else a reader has to know, a sentence each.
    """

    version: str
    relation: RelationName
    table: RelationName
    within: tuple[RelationName, ...]
    mode: LockMode
    line: int
    statement: str
    asked: timedelta | None
    held: timedelta | None
    held_is_least: bool
    scaled: float
    waits: timedelta
    arriving_per_s: float | None
    sessions: int | None
    at_most: int | None
    full_after: timedelta | None
    blockers: tuple[Holder, ...]
    verdict: QueueVerdict
    notes: tuple[str, ...] = ()

    @property
    def longest_wait(self) -> timedelta | None:
        """How long the first who comes waits: behind us in the queue, and for our transaction's end."""
        return None if self.held is None else self.waits + self.held

    @property
    def place(self) -> str:
        """Which lock of which statement: `ACCESS EXCLUSIVE, ALTER TABLE in line 4`."""
        words = " ".join(self.statement.split()[:_WORDS]).rstrip("(;")
        return f"{self.mode}, {words}" + (f" in line {self.line}" if self.line else "")


_WORDS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueForecast:
    """Who would wait if scripts ran now.

    Attributes:
        database: Where.
        at: When this was looked at, by the server's clock.
        sentence: All of it in one sentence.
        verdict: The worst.
        sessions: Connected ones that wait in the worst moment; None when that cannot be told.
        at_most: Those that wait then if clients open a connection for each statement that waits; None likewise.
        clients: Sessions of clients that are connected to the database.
        limit: Connections that there may be.
        used: Connections that there are.
        basis: Where the rates come from, a sentence.
        queues: Each lock that holds somebody up or may have to wait, the worst first.
        advice: What would make it better, the most useful first.
        not_seen: What we may not see or what is not counted, a sentence each; it is never taken for zero.
    """

    database: str
    at: datetime
    sentence: str
    verdict: QueueVerdict
    sessions: int | None
    at_most: int | None
    clients: int
    limit: int
    used: int
    basis: str
    queues: tuple[RelationQueue, ...] = ()
    advice: tuple[str, ...] = ()
    not_seen: tuple[str, ...] = ()
