"""What a server counts of one database, and what became different between two looks at it.

Counters only grow, until somebody resets them or the server crashes. So a look says since when they count, and one that
is smaller than before has begun anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from psycopg.rows import dict_row

from squizzle.errors import CouldNotVerifyError, DatabaseError
from squizzle.health.queries import read_query_stats
from squizzle.health.records import query_words
from squizzle.postgres.access import Connection
from squizzle.postgres.sql_files import load_sql
from squizzle.rollout.soak import Observation, QueryTime, is_slower_than_before
from squizzle.settings.watch import SoakLimits

# Of the queries that took the most time. A server counts 5,000 of all its databases, unless it is told otherwise
# (pg_stat_statements.max); kept as text, so many are about 6 kB.
KEPT = 200
# A text is told from 5,000 others by so many digits of its hash.
_DIGITS = 12
# Ours, and what looks after databases: no migration of an application makes them slow.
_NOT_THEIRS = ("squizzle", "pg_stat_")
# So many slow queries of one target are told.
_TOLD = 10
_WHOLE = 100.0


@dataclass(frozen=True, kw_only=True, slots=True)
class QueryCounter:
    """What one query has cost.

    Attributes:
        calls: How often it ran.
        total_ms: How long in all.
        text: All of it; not for people, for it may hold a password. Empty where it is not kept.
    """

    calls: int
    total_ms: float
    text: str = ""

    @property
    def mean_ms(self) -> float:
        """How long one took."""
        return self.total_ms / max(1, self.calls)


@dataclass(frozen=True, kw_only=True, slots=True)
class Counters:
    """What was counted by one moment.

    Attributes:
        at: By the server's clock.
        server_started_at: When the server was started.
        counted_since: Since when it counts for the database; None for always.
        committed: Transactions.
        rolled_back: Transactions.
        deadlocks: So many.
        queries: By the digest of their text.
        queries_since: Since when those are counted; None where they are not.
        floor_ms: What was left out of `queries` had not taken longer than this in all; 0 where nothing was.
        no_queries: Why queries are not counted; empty where they are.
    """

    at: datetime
    server_started_at: datetime
    counted_since: datetime | None
    committed: int
    rolled_back: int
    deadlocks: int
    queries: Mapping[str, QueryCounter] = field(default_factory=dict)
    queries_since: datetime | None = None
    floor_ms: float = 0.0
    no_queries: str = ""

    @property
    def error_pct(self) -> float:
        """Transactions that were rolled back, in per cent of all."""
        return _WHOLE * self.rolled_back / max(1, self.committed + self.rolled_back)

    def has_transactions(self, least: int) -> bool:
        """Whether there are so many that a percentage of them says something."""
        return self.committed + self.rolled_back >= max(1, least)

    def kept(self) -> Counters:
        """The same with no more than a baseline keeps: the costliest queries, without their texts."""
        costliest = sorted(self.queries.items(), key=lambda one: -one[1].total_ms)
        queries = {digest: replace(one, text="") for digest, one in costliest[:KEPT]}
        floor = costliest[KEPT - 1][1].total_ms if len(costliest) > KEPT else self.floor_ms
        return replace(self, queries=queries, floor_ms=floor)

    def to_json(self) -> dict[str, Any]:
        """As it is kept."""
        return {
            "at": self.at.isoformat(),
            "server_started_at": self.server_started_at.isoformat(),
            "counted_since": self.counted_since and self.counted_since.isoformat(),
            "numbers": [self.committed, self.rolled_back, self.deadlocks],
            "queries": {digest: [one.calls, round(one.total_ms, 3)] for digest, one in self.queries.items()},
            "queries_since": self.queries_since and self.queries_since.isoformat(),
            "floor_ms": self.floor_ms,
            "no_queries": self.no_queries,
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Counters:
        """As it was kept."""
        since, queries_since = value["counted_since"], value["queries_since"]
        committed, rolled_back, deadlocks = value["numbers"]
        return Counters(
            at=datetime.fromisoformat(value["at"]),
            server_started_at=datetime.fromisoformat(value["server_started_at"]),
            counted_since=datetime.fromisoformat(since) if since else None,
            committed=committed,
            rolled_back=rolled_back,
            deadlocks=deadlocks,
            queries={
                digest: QueryCounter(calls=calls, total_ms=total) for digest, (calls, total) in value["queries"].items()
            },
            queries_since=datetime.fromisoformat(queries_since) if queries_since else None,
            floor_ms=value["floor_ms"],
            no_queries=value["no_queries"],
        )


def read_counters(connection: Connection) -> Counters:
    """What the server has counted of this database. Nothing is changed.

    Where queries are not counted, the result says why and how that is changed.

    Raises:
        psycopg.Error: The session was lost.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(load_sql("squizzle.rollout", "counters")).fetchone()
    if row is None:
        raise CouldNotVerifyError("the server does not count for this database", hint="is track_counts on?")
    counters = Counters(**row)
    try:
        stats = read_query_stats(connection, whole_texts=True)
    except (CouldNotVerifyError, DatabaseError) as exc:
        return replace(counters, no_queries=f"{exc.message}; {exc.hint}" if exc.hint else exc.message)
    if not stats.queries and stats.hidden:
        return replace(counters, no_queries="queries are shown to members of pg_read_all_stats only; grant it")
    queries: dict[str, QueryCounter] = {}
    for one in stats.queries.values():
        if any(words in one.query for words in _NOT_THEIRS):
            continue
        digest = query_digest(one.query)
        known = queries.get(digest)
        queries[digest] = QueryCounter(
            calls=one.calls + (known.calls if known else 0),
            total_ms=one.total_ms + (known.total_ms if known else 0.0),
            text=one.query,
        )
    return replace(counters, queries=queries, queries_since=stats.counted_since)


def query_digest(text: str) -> str:
    """Tells a query from others, the same in every database."""
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()[:_DIGITS]


def counted_between(begin: Counters, now: Counters) -> Counters:
    """What was counted since a look: all there is where counting began anew in between. Pure.

    A query that the first look left out had not taken longer than its floor, so at least the rest is new.
    """
    fell = now.committed < begin.committed or now.rolled_back < begin.rolled_back or now.deadlocks < begin.deadlocks
    anew = fell or (now.counted_since is not None and now.counted_since > begin.at)
    queries = now.queries
    if not _queries_anew(begin, now):
        queries = {digest: _grown(begin, digest, one) for digest, one in now.queries.items()}
    return replace(
        now,
        committed=now.committed - (0 if anew else begin.committed),
        rolled_back=now.rolled_back - (0 if anew else begin.rolled_back),
        deadlocks=now.deadlocks - (0 if anew else begin.deadlocks),
        queries=queries,
    )


def _queries_anew(begin: Counters, now: Counters) -> bool:
    if begin.queries_since is None or now.queries_since is None:
        return begin.queries_since is not None
    return now.queries_since > begin.queries_since


def _grown(begin: Counters, digest: str, now: QueryCounter) -> QueryCounter:
    was = begin.queries.get(digest)
    if was is None:
        return QueryCounter(calls=now.calls, total_ms=max(0.0, now.total_ms - begin.floor_ms), text=now.text)
    if now.calls < was.calls or now.total_ms < was.total_ms:
        return now  # its place was given to another one, and it came back
    return QueryCounter(calls=now.calls - was.calls, total_ms=now.total_ms - was.total_ms, text=now.text)


def compare_counters(
    seen: Observation,
    now: Counters,
    *,
    before: Counters | None,
    recent: Counters | None,
    begin: Counters | None,
    limits: SoakLimits,
    all_queries: bool,
) -> Observation:
    """What was seen at a target, with what its counters say of the time since the migration. Pure.

    Args:
        seen: What else was seen.
        now: Its counters.
        before: As they were before its migration; None when that was not kept.
        recent: What was counted in a while just before its migration; None when that is not known. Where it is enough,
            it says more of the time before than all that was counted until then.
        begin: As they were when its migration had ended, or `before` where that was not kept; None as above.
        limits: Up to where all is well.
        all_queries: Whether to keep queries that are well, for others to be compared with.
    """
    if begin is None:
        why = now.no_queries or "its counters from before the migration were not kept"
        return replace(seen, no_queries=why)
    since = counted_between(begin, now)
    known = [one for one in (recent, before) if one is not None]
    before_pct = next((one.error_pct for one in known if one.has_transactions(limits.least_transactions)), None)
    return replace(
        seen,
        error_pct=since.error_pct if since.has_transactions(limits.least_transactions) else None,
        baseline_error_pct=before_pct,
        deadlocks=since.deadlocks,
        usual_deadlocks=_usual(before, now.at - begin.at) if before else None,
        restarted_at=now.server_started_at if now.server_started_at > begin.at else None,
        queries=_times(since, before, recent, limits, all_queries=all_queries),
        no_queries=now.no_queries or (before.no_queries if before else ""),
    )


def _usual(before: Counters, duration: timedelta) -> float | None:
    if before.counted_since is None or before.at <= before.counted_since:
        return None
    return before.deadlocks * (duration / (before.at - before.counted_since))


def _times(
    since: Counters, before: Counters | None, recent: Counters | None, limits: SoakLimits, *, all_queries: bool
) -> tuple[QueryTime, ...]:
    """Those that ran often enough; of a migrated target no more than could be too slow, for there may be thousands."""
    known = dict(before.queries) if before else {}
    newest = recent.queries if recent else {}
    known |= {digest: one for digest, one in newest.items() if digest in known and one.calls >= limits.least_calls}
    times = [
        QueryTime(
            query=query_words(one.text),
            mean_ms=one.mean_ms,
            calls=one.calls,
            baseline_ms=known[digest].mean_ms if digest in known else None,
            digest=digest,
        )
        for digest, one in since.queries.items()
        if one.calls >= max(1, limits.least_calls)
    ]
    if all_queries:
        return tuple(times)
    doubtful = [
        one
        for one in times
        if is_slower_than_before(one, limits) or (one.baseline_ms is None and one.mean_ms >= limits.least_ms)
    ]
    return tuple(sorted(doubtful, key=lambda one: -one.mean_ms * one.calls)[:_TOLD])
