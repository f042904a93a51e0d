"""How long a lock will be waited for and held: as rehearsed, for as many rows as there are now. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import RelationName
from squizzle.analysis.records import Statement
from squizzle.migrations.limits import lock_timeout_of
from squizzle.migrations.records import Timeouts
from squizzle.migrations.units import UnitKind
from squizzle.rehearsal.records import ScriptTrace, TracedLock, TracedStatement
from squizzle.rehearsal.traffic_records import Holder, Traffic

# At least so long stands whoever meets somebody that does not end by himself.
_A_WHILE = timedelta(seconds=1)
_LOCK_TIMEOUT = re.compile(
    r"^SET\s+(?:LOCAL\s+|SESSION\s+)?lock_timeout\s*(?:=|\sTO\s)\s*'?\s*(\d+)\s*(us|ms|s|min|h)?\s*'?$", re.IGNORECASE
)
_UNITS = {"us": "microseconds", "ms": "milliseconds", "s": "seconds", "min": "minutes", "h": "hours"}
_SETS_LOCK_TIMEOUT = re.compile(r"^SET\s+(?:LOCAL\s+|SESSION\s+)?lock_timeout\b", re.IGNORECASE)


def waits_for(blockers: Sequence[Holder], patience: timedelta | None) -> timedelta:
    """How long one try stands in the queue. A transaction that is old will not end within a try.

    What is known of one that is open for a while is that it may be open as long again.
    """
    if not blockers:
        return timedelta()
    oldest = max((one.transaction_age for one in blockers if one.transaction_age is not None), default=timedelta())
    stays = any(one.transaction_age is None or one.pid is None or one.is_autovacuum for one in blockers)
    if patience is None:
        return max(oldest, _A_WHILE) if stays else oldest
    return patience if stays else min(patience, oldest)


def patience_of(statement: TracedStatement, timeouts: Timeouts) -> timedelta:
    """How long one try of ours stands in the queue for a lock."""
    kind = UnitKind.TRANSACTION if statement.transactional else UnitKind.ALONE
    first = statement.sql.split(maxsplit=1)[:1]
    told = Statement(
        sql=statement.sql, line=statement.line, words=tuple(one.upper() for one in first), transactional=True
    )
    return lock_timeout_of(told, kind, timeouts)


def said_lock_timeout(sql: str) -> timedelta | None:
    """What a script sets as its own `lock_timeout`; None for no limit, and where we cannot read it."""
    match = _LOCK_TIMEOUT.match(sql.strip())
    if match is None or int(match[1]) == 0:
        return None
    return timedelta(**{_UNITS[(match[2] or "ms").lower()]: int(match[1])})


def _during(lock: TracedLock, trace: ScriptTrace) -> Iterator[tuple[TracedStatement, timedelta]]:
    """The statements that ran while the lock was held, each with how long.

    Of one in batches that is a part: the lock is held for one batch, and the statement took as long as all of them.
    """
    begin = lock.since + lock.waited
    end = begin + lock.held
    for statement in trace.statements:
        overlap = min(end, statement.since + statement.duration) - max(begin, statement.since)
        if overlap > timedelta():
            yield statement, overlap


def rows_changed(lock: TracedLock, trace: ScriptTrace) -> int:
    """Rows that were there before and were changed while a lock was held, of whatever table."""
    return sum(
        math.ceil(statement.rows_changed * (took / statement.duration))
        for statement, took in _during(lock, trace)
        if not _only_adds(statement.sql)
    )


def _only_adds(sql: str) -> bool:
    """Whether it writes rows that nobody else can want yet."""
    text = sql.upper()
    return text.startswith(("INSERT", "COPY")) and "ON CONFLICT" not in text


class Growth:
    """How many times as many rows tables have as when it was rehearsed."""

    def __init__(self, traffic: Traffic, rehearsed_rows: Mapping[RelationName, int]) -> None:
        self._ratios: dict[RelationName, float] = {}
        for one in traffic.relations:
            before = rehearsed_rows.get(one.relation) or rehearsed_rows.get(one.table)
            if before and one.rows:
                self._ratios[one.relation] = one.rows / before

    def of(self, statement: TracedStatement, lock: TracedLock, took: timedelta) -> float:
        """By how much longer a statement takes that was traced while a lock was held, for so long."""
        if lock.mode is LockMode.ROW_EXCLUSIVE and took < statement.duration:
            return 1.0  # one batch of many: there will be more of them
        if not (statement.rewrites or statement.rows_scanned or statement.rows_changed):
            return 1.0
        touched = (*statement.rewrites, *(one.relation for one in statement.locks))
        ratios = [self._ratios[one] for one in touched if one in self._ratios]
        return max(ratios, default=self._ratios.get(lock.relation, 1.0))


def held_now(lock: TracedLock, trace: ScriptTrace, growth: Growth) -> tuple[timedelta, float]:
    """How long it will be held, and how many times as long as in the rehearsal."""
    if lock.held <= timedelta():
        return timedelta(), 1.0
    more = sum(((growth.of(one, lock, took) - 1) * took for one, took in _during(lock, trace)), timedelta())
    held = max(timedelta(), lock.held + more)
    return held, held / lock.held if held else 1.0


def sets_lock_timeout(sql: str) -> bool:
    """Whether a statement of a script says itself how long those behind it wait for a lock."""
    return _SETS_LOCK_TIMEOUT.match(sql) is not None
