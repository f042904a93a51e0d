"""Who would wait, and how long, if a script ran now: what a rehearsal measured times what clients do. Pure.

A lock keeps others out twice: while we stand in the queue for it, for who comes after us waits behind us, and while we
hold it. Sessions come at a rate; so many wait as come in that time, and no more than are or can be connected.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import Effect, RelationName
from squizzle.durations import words
from squizzle.migrations.planned_statements import PlannedStatement
from squizzle.migrations.records import Timeouts
from squizzle.rehearsal.lock_forecast_crowd import at_the_worst_moment, crowd_of, verdict_of
from squizzle.rehearsal.lock_forecast_records import QueueForecast, QueueVerdict, RelationQueue
from squizzle.rehearsal.lock_forecast_times import (
    Growth,
    held_now,
    patience_of,
    rows_changed,
    said_lock_timeout,
    sets_lock_timeout,
    waits_for,
)
from squizzle.rehearsal.lock_forecast_words import advice_for, basis_of, sentence_of, span, unseen
from squizzle.rehearsal.records import Certificate, RelationKind, ScriptTrace, TracedLock
from squizzle.rehearsal.traffic_records import Holder, RelationTraffic, Traffic

# Nobody wants to know of a transaction that is younger.
_A_WHILE = timedelta(seconds=1)
# Transactions shorter than this are gone within one try.
_BRIEF = timedelta(milliseconds=100)
_STATEMENT_WIDTH = 80
_PARTS = frozenset({RelationKind.INDEX, RelationKind.TOAST})


def forecast_queue(
    trace: ScriptTrace,
    traffic: Traffic,
    *,
    timeouts: Timeouts | None = None,
    rehearsed_rows: Mapping[RelationName, int] | None = None,
) -> QueueForecast:
    """Who would wait, and how long, if a rehearsed script ran now.

    Args:
        trace: What the script did in its rehearsal.
        traffic: How the relations of `relations_of(trace)` are used now.
        timeouts: How long a try waits for a lock.
        rehearsed_rows: Rows of the tables when it was rehearsed: what reads or writes whole tables takes longer on
            grown ones. Without it times are taken as they were measured.
    """
    return combine(rehearsed_queues(trace, traffic, timeouts=timeouts, rehearsed_rows=rehearsed_rows), traffic)


def forecast_certificates(
    certificates: Sequence[Certificate],
    traffic: Traffic,
    *,
    timeouts: Timeouts | None = None,
    rehearsed_rows: Mapping[RelationName, int] | None = None,
) -> QueueForecast:
    """Who would wait if everything that was rehearsed ran now, one version after the other.

    Args:
        certificates: Those that have no trace are told of.
        traffic: How the relations of all traces are used now.
        timeouts: How long a try waits for a lock.
        rehearsed_rows: As for `forecast_queue`.
    """
    traces = [one.up for one in certificates if one.up is not None]
    queues = [
        queue
        for trace in traces
        for queue in rehearsed_queues(trace, traffic, timeouts=timeouts, rehearsed_rows=rehearsed_rows)
    ]
    missing = [f"what {one.version} locks: it did not come to its end" for one in certificates if one.up is None]
    return combine(queues, traffic, rehearsed=("times as rehearsed",), not_seen=missing)


def forecast_unrehearsed(statements: Sequence[PlannedStatement], traffic: Traffic) -> QueueForecast:
    """Who would have to wait if statements ran now; how long is not known, for nobody has measured that.

    Args:
        statements: What will run, with the locks that its text and the catalogue tell.
        traffic: How the relations of `relations_of_plan(statements)` are used now.
    """
    return combine(unrehearsed_queues(statements, traffic), traffic)


def relations_of(trace: ScriptTrace) -> tuple[RelationName, ...]:
    """The relations to look at for a trace."""
    return tuple(dict.fromkeys(lock.relation for lock in trace.locks))


def relations_of_plan(statements: Iterable[PlannedStatement]) -> tuple[RelationName, ...]:
    """The relations to look at for statements that were not rehearsed."""
    return tuple(dict.fromkeys(lock.relation for one in statements for lock in one.forecast.locks))


def combine(
    queues: Iterable[RelationQueue], traffic: Traffic, *, rehearsed: Sequence[str] = (), not_seen: Sequence[str] = ()
) -> QueueForecast:
    """One forecast of several scripts that run one after the other.

    Args:
        queues: Of all of them.
        traffic: That they were told from.
        rehearsed: Where their times come from, a clause each.
        not_seen: What else could not be seen, a sentence each.
    """
    ordered = tuple(sorted(queues, key=_worst_first))
    crowd, together = at_the_worst_moment(ordered, traffic)
    verdict = max([together, *(one.verdict for one in ordered)], key=lambda one: one.rank)
    least, most = crowd if verdict is not QueueVerdict.UNKNOWN else (None, None)
    return QueueForecast(
        database=traffic.database,
        at=traffic.at,
        sentence=sentence_of(ordered, verdict, crowd, traffic),
        verdict=verdict,
        sessions=least,
        at_most=most,
        clients=traffic.clients,
        limit=traffic.limit,
        used=traffic.used,
        basis="; ".join([basis_of(traffic), *rehearsed]),
        queues=ordered,
        advice=advice_for(ordered, traffic),
        not_seen=(*not_seen, *unseen(ordered, traffic)),
    )


def rehearsed_queues(
    trace: ScriptTrace,
    traffic: Traffic,
    *,
    timeouts: Timeouts | None = None,
    rehearsed_rows: Mapping[RelationName, int] | None = None,
) -> tuple[RelationQueue, ...]:
    """The queues of one rehearsed script, in its order; for `combine`. Arguments as for `forecast_queue`."""
    limits = timeouts or Timeouts()
    growth = Growth(traffic, rehearsed_rows or {})
    found = []
    uses = traffic.by_name()
    on_tables: defaultdict[RelationName, list[TracedLock]] = defaultdict(list)
    for lock in trace.locks:
        if lock.kind not in _PARTS:
            on_tables[lock.relation].append(lock)
    says_so, own_timeout = False, None
    for statement in trace.statements:
        says_so = says_so or sets_lock_timeout(statement.sql)
        if sets_lock_timeout(statement.sql):
            own_timeout = said_lock_timeout(statement.sql)
        patience = own_timeout if says_so and statement.transactional else patience_of(statement, limits)
        for lock in statement.locks:
            used = uses.get(lock.relation)
            changed = rows_changed(lock, trace) if lock.mode is LockMode.ROW_EXCLUSIVE else 0
            if used is None or not (_matters(lock.mode) or changed):
                continue
            if _goes_with_its_table(lock, on_tables[used.table]):
                continue
            held, scaled = held_now(lock, trace, growth)
            found.append(
                _queue(
                    _Asking(
                        version=trace.version,
                        relation=lock.relation,
                        mode=lock.mode,
                        line=statement.line,
                        sql=statement.sql,
                        patience=patience,
                        asked=lock.since,
                        held=held,
                        held_is_least=statement.is_lower_bound,
                        scaled=scaled,
                        rows_changed=changed,
                    ),
                    used,
                    traffic,
                )
            )
    return tuple(found)


def unrehearsed_queues(statements: Iterable[PlannedStatement], traffic: Traffic) -> tuple[RelationQueue, ...]:
    """The queues of statements that nobody has rehearsed, in their order; for `combine`."""
    found = []
    uses = traffic.by_name()
    for one in statements:
        effects = dict(one.forecast.effects)
        for lock in one.forecast.locks:
            used = uses.get(lock.relation)
            if used is None or not _matters(lock.mode):
                continue
            found.append(
                _queue(
                    _Asking(
                        version=one.version,
                        relation=lock.relation,
                        mode=lock.mode,
                        line=one.statement.line,
                        sql=one.statement.sql,
                        patience=one.lock_timeout,
                        effect=effects.get(lock.relation),
                    ),
                    used,
                    traffic,
                )
            )
    return tuple(found)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asking:
    """One lock that will be asked for; `patience` is None where the script sets its own, without a limit we know."""

    version: str
    relation: RelationName
    mode: LockMode
    line: int
    sql: str
    patience: timedelta | None
    asked: timedelta | None = None
    held: timedelta | None = None
    held_is_least: bool = False
    scaled: float = 1.0
    rows_changed: int = 0
    effect: Effect | None = None


def _queue(asking: _Asking, used: RelationTraffic, traffic: Traffic) -> RelationQueue:
    blockers = _blockers(asking.mode, used)
    waits = waits_for(blockers, asking.patience)
    arriving = _arriving(asking, used, traffic)
    length = None if asking.held is None else waits + asking.held
    demand = None if arriving is None else 0.0 if arriving == 0 else _demand(arriving, length)
    room = traffic.clients + traffic.free
    crowd = None if demand is None else crowd_of(demand, traffic)
    verdict = verdict_of(demand, length, room)
    # The moment in which as many have come as can be connected.
    full = timedelta(seconds=room / arriving) if verdict is QueueVerdict.EXHAUST and arriving else None
    return RelationQueue(
        version=asking.version,
        relation=asking.relation,
        table=used.table,
        within=used.within,
        mode=asking.mode,
        line=asking.line,
        statement=_beginning(asking.sql),
        asked=asking.asked,
        held=asking.held,
        held_is_least=asking.held_is_least,
        scaled=asking.scaled,
        waits=waits,
        arriving_per_s=arriving,
        sessions=crowd[0] if crowd else None,
        at_most=crowd[1] if crowd else None,
        full_after=full,
        blockers=blockers,
        verdict=verdict,
        notes=tuple(_notes(asking, used, traffic)),
    )


def _demand(arriving: float, length: timedelta | None) -> float | None:
    return None if length is None else arriving * length.total_seconds()


def _goes_with_its_table(lock: TracedLock, on_table: Iterable[TracedLock]) -> bool:
    """Whether it is on a part of a table that is locked as strongly in the same transaction: the same clients wait."""
    return lock.kind in _PARTS and any(
        one.mode.strength >= lock.mode.strength and one.since <= lock.since <= one.since + one.waited + one.held
        for one in on_table
    )


def _matters(mode: LockMode) -> bool:
    """Whether it keeps out more than DDL that wants a table for itself."""
    return mode.strength >= LockMode.SHARE_UPDATE_EXCLUSIVE.strength


def _blockers(mode: LockMode, used: RelationTraffic) -> tuple[Holder, ...]:
    """Who holds a conflicting lock and will not let go of it within a moment, as clients do all the time."""
    return tuple(one for one in used.holders if one.mode in mode.conflicts and _stays(one))


def _stays(holder: Holder) -> bool:
    if holder.transaction_age is None or holder.pid is None or holder.is_autovacuum:
        return True
    return holder.transaction_age > _BRIEF


def _arriving(asking: _Asking, used: RelationTraffic, traffic: Traffic) -> float | None:
    """Sessions a second that want what the lock keeps from them: no more than transactions end."""
    if not asking.mode.blocks_writes and not asking.rows_changed:
        return 0.0
    if used.reads_per_s is None or used.writes_per_s is None or used.changes_per_s is None:
        return None
    # An UPDATE finds its rows by a scan, and one scan may find many: it is one session that comes, not one a row.
    changing = min(used.changes_per_s, used.reads_per_s)
    inserting = used.writes_per_s - used.changes_per_s
    if asking.mode.blocks_reads:
        rate = inserting + used.reads_per_s
    elif asking.mode.blocks_writes:
        rate = inserting + changing
    else:
        # Those that meet a row that the script has changed, if all rows are as likely.
        rate = changing * (min(1.0, asking.rows_changed / used.rows) if used.rows else 1.0)
    rate = max(0.0, rate)
    return min(rate, traffic.transactions_per_s) if traffic.transactions_per_s > 0 else rate


def _beginning(sql: str) -> str:
    text = " ".join(sql.split())
    return text if len(text) <= _STATEMENT_WIDTH else f"{text[:_STATEMENT_WIDTH]}…"


def _notes(asking: _Asking, used: RelationTraffic, traffic: Traffic) -> Iterator[str]:
    if asking.held is None and asking.effect is not None:
        size = f", {used.rows:,} rows" if used.rows is not None else ""
        yield f"{asking.effect} {asking.relation}{size}, so it takes longer the bigger that is"
    if asking.rows_changed:
        yield f"the rows that it changes (at most {asking.rows_changed:,}) stay locked until its transaction ends"
    if asking.held_is_least:
        yield "outside a transaction it was watched from another session, so it may be held longer"
    if used.autovacuum is not None and used.autovacuum.mode in asking.mode.conflicts:
        yield from _about_autovacuum(asking.patience, wraparound=used.autovacuum.prevents_wraparound)
    if used.waiting:
        yield f"{used.waiting} sessions wait for a lock on {used.table} already"
    if asking.patience is None:
        yield "the script sets its own lock_timeout, and as far as it can be read there is no limit to its wait"
    if "CONCURRENTLY" in asking.sql.upper() and (traffic.longest_transaction or timedelta()) > _A_WHILE:
        yield (
            "CONCURRENTLY waits for every transaction that may still see the table; the oldest in this database is open"
            f" for {words(traffic.longest_transaction or timedelta())}"
        )


# A session that waits longer than this has autovacuum cancelled for its sake (`deadlock_timeout`, its default).
_DEADLOCK_TIMEOUT = timedelta(seconds=1)


def _about_autovacuum(patience: timedelta | None, *, wraparound: bool) -> Iterator[str]:
    if wraparound:
        yield "autovacuum against transaction wraparound is on it and gives way to nobody; it has to come to its end"
    elif patience is not None and patience < _DEADLOCK_TIMEOUT:
        yield (
            f"autovacuum is on it; it gives way to who waits a second, and one try waits {span(patience)}, so it has to"
            " come to its end or be cancelled"
        )
    else:
        yield "autovacuum is on it; it gives way after a second"


def _worst_first(one: RelationQueue) -> tuple[int, float, float]:
    demand = (one.arriving_per_s or 0.0) * (one.longest_wait.total_seconds() if one.longest_wait is not None else 1.0)
    return -one.verdict.rank, -demand, -(one.longest_wait or timedelta()).total_seconds()
