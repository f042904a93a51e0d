"""How many wait, and whether they notice: what comes in a time, and what may be connected. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import timedelta

from squizzle.analysis.locks.records import RelationName
from squizzle.rehearsal.lock_forecast_records import QueueVerdict, RelationQueue
from squizzle.rehearsal.traffic_records import Traffic

# Under this a delay drowns in what a network and a busy server do anyway; our own tries may be that long.
_UNNOTICED = timedelta(milliseconds=50)
# What a person at a screen calls slow, and what many clients' own time limits begin with.
_SHORT = timedelta(seconds=1)
# Fewer than one in ten times somebody comes meanwhile.
_HARDLY_ANYBODY = 0.1


def crowd_of(demand: float, traffic: Traffic) -> tuple[int, int]:
    """How many wait: of those that are connected, and if those that come open connections."""
    coming = math.ceil(min(demand, float(traffic.clients + traffic.free))) if demand >= _HARDLY_ANYBODY else 0
    return min(coming, traffic.clients), coming


def verdict_of(demand: float | None, length: timedelta | None, room: int) -> QueueVerdict:
    """What clients notice.

    Args:
        demand: How many come meanwhile; None where that is not known.
        length: How long the first of them waits; None where that is not known.
        room: How many are connected or can be.
    """
    if demand == 0:
        return QueueVerdict.NOBODY
    if length is not None and length <= _UNNOTICED:
        # Too short for anybody to open connections meanwhile, too.
        return QueueVerdict.NOBODY
    if demand is None or length is None:
        return QueueVerdict.UNKNOWN
    if demand < _HARDLY_ANYBODY:
        return QueueVerdict.NOBODY
    if demand >= max(room, 1):
        return QueueVerdict.EXHAUST
    return QueueVerdict.SHORT if length <= _SHORT else QueueVerdict.QUEUE


def at_the_worst_moment(queues: Sequence[RelationQueue], traffic: Traffic) -> tuple[tuple[int, int], QueueVerdict]:
    """How many wait when most do, and what they notice; the locks of one transaction add up.

    Whoever waits for one table does not wait for another one, so no more wait than transactions are begun.
    """
    room = traffic.clients + traffic.free
    worst, verdict = 0.0, QueueVerdict.NOBODY
    for together in _transactions(queues):
        longest = max((one.longest_wait or timedelta() for one in together if one.arriving_per_s), default=timedelta())
        demand = _demand_together(together)
        if traffic.transactions_per_s > 0:
            demand = min(demand, traffic.transactions_per_s * longest.total_seconds())
        worst = max(worst, demand)
        verdict = max(verdict, verdict_of(demand, longest, room), key=lambda one: one.rank)
    return crowd_of(worst, traffic), verdict


def _demand_together(queues: Sequence[RelationQueue]) -> float:
    """How many come for all tables; whoever comes to a partition by its parent, and waits for that, counts there."""
    by_table: dict[RelationName, tuple[float, tuple[RelationName, ...]]] = {}
    for one in queues:
        if one.arriving_per_s and one.longest_wait is not None:
            demand = one.arriving_per_s * one.longest_wait.total_seconds()
            by_table[one.table] = max(by_table.get(one.table, (0.0, ())), (demand, one.within))
    return sum(
        demand
        for demand, within in by_table.values()
        if not any(by_table[parent][0] >= demand for parent in within if parent in by_table)
    )


def _transactions(queues: Sequence[RelationQueue]) -> Iterator[list[RelationQueue]]:
    """The locks of each transaction: a script has one transaction at a time, so its locks overlap in the rehearsal."""
    timed = sorted(
        (
            (one.version, one.asked, one.asked + (one.held or timedelta()) / one.scaled, one)
            for one in queues
            if one.asked is not None
        ),
        key=lambda one: one[:2],
    )
    together: list[RelationQueue] = []
    version, until = "", timedelta()
    for of_version, begin, end, one in timed:
        if together and (of_version != version or begin >= until):
            yield together
            together = []
        until = max(until, end) if together else end
        version = of_version
        together.append(one)
    if together:
        yield together
    yield from ([one] for one in queues if one.asked is None)
