"""Who would wait if a script ran now: arithmetic on what a rehearsal measured and on what clients do."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squizzle.analysis.locks.forecast import predict_locks
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import RelationName
from squizzle.analysis.statements import split_statements
from squizzle.migrations.planned_statements import PlannedStatement
from squizzle.migrations.records import Direction
from squizzle.rehearsal.lock_forecast import combine, forecast_queue, forecast_unrehearsed, rehearsed_queues
from squizzle.rehearsal.lock_forecast_records import QueueVerdict
from squizzle.rehearsal.records import RelationKind, ScriptTrace, TracedLock, TracedStatement
from squizzle.rehearsal.traffic_records import Holder, RelationTraffic, Traffic
from squizzle.reports.lock_forecast import lock_forecast_document, lock_forecast_lines, lock_forecast_markdown

ORDERS = RelationName(schema="public", name="orders")
ITEMS = RelationName(schema="public", name="items")
ALTER = "ALTER TABLE public.orders ALTER COLUMN total TYPE bigint"
NOTHING = timedelta()
SECOND = timedelta(seconds=1)


def lock(
    mode: LockMode = LockMode.ACCESS_EXCLUSIVE,
    *,
    held: timedelta = SECOND,
    since: timedelta = NOTHING,
    relation: RelationName = ORDERS,
) -> TracedLock:
    return TracedLock(relation=relation, kind=RelationKind.TABLE, mode=mode, since=since, held=held)


def statement(*locks: TracedLock, sql: str = ALTER, duration: timedelta = SECOND, **more: object) -> TracedStatement:
    ran = TracedStatement(number=1, line=4, sql=sql, transactional=True, since=NOTHING, duration=duration, locks=locks)
    return replace(ran, **more)  # type: ignore[arg-type]


def trace(*statements: TracedStatement, version: str = "0007") -> ScriptTrace:
    return ScriptTrace(version=version, direction=Direction.APPLY, duration=SECOND, statements=statements)


def used(
    relation: RelationName = ORDERS, *, reads: float = 0, inserts: float = 0, changes: float = 0
) -> RelationTraffic:
    return RelationTraffic(
        relation=relation,
        table=relation,
        reads_per_s=reads,
        writes_per_s=inserts + changes,
        changes_per_s=changes,
        rows=1000,
    )


def traffic(*relations: RelationTraffic, clients: int = 300, free: int = 100, transactions: float = 1e6) -> Traffic:
    return Traffic(
        database="shop",
        at=datetime(2026, 11, 27, 14, 3, tzinfo=UTC),
        over=timedelta(seconds=2),
        is_average=False,
        transactions_per_s=transactions,
        clients=clients,
        active=0,
        used=clients + 1,
        limit=clients + 1 + free,
        relations=relations,
    )


def holder(age: timedelta | None, mode: LockMode = LockMode.ROW_EXCLUSIVE, pid: int | None = 77) -> Holder:
    return Holder(mode=mode, pid=pid, who=f"session {pid} (report)", what="SELECT", transaction_age=age)


def test_the_sentence_says_how_many_wait_how_long_for_what() -> None:
    now = traffic(used(reads=80, inserts=42.2))
    forecast = forecast_queue(trace(statement(lock(held=timedelta(seconds=1.8)))), now)
    assert forecast.sentence == (
        "at 14:03 UTC about 220 sessions would wait up to 1.8 s on public.orders"
        " (ACCESS EXCLUSIVE, ALTER TABLE in line 4)"
    )
    assert forecast.verdict is QueueVerdict.QUEUE
    another_way, quieter = forecast.advice
    assert another_way == "line 4: squizzle lint shows another way in steps (L118 column-type-rewrites)"
    assert quieter.endswith("at less than 5.6 a second fewer than 10 would wait")
    indexing = statement(lock(LockMode.SHARE, held=2 * SECOND), sql="CREATE INDEX ON public.orders (total)")
    other = "line 4: CREATE INDEX CONCURRENTLY ON public.orders (total) (L101 index-not-concurrent)"
    assert forecast_queue(trace(indexing), now).advice[0] == other
    text = lock_forecast_markdown(forecast)
    assert text.startswith("**Would queue**: at 14:03 UTC about 220 sessions")
    assert "|" not in text
    assert lock_forecast_document(forecast)["sessions"] == 220
    assert lock_forecast_lines(forecast)[0] == forecast.sentence


@pytest.mark.parametrize(
    ("mode", "waiting"),
    [
        (LockMode.SHARE_UPDATE_EXCLUSIVE, 0),
        (LockMode.SHARE, 30),
        (LockMode.SHARE_ROW_EXCLUSIVE, 30),
        (LockMode.ACCESS_EXCLUSIVE, 110),
    ],
)
def test_only_those_wait_whom_the_mode_keeps_out(mode: LockMode, waiting: int) -> None:
    forecast = forecast_queue(trace(statement(lock(mode))), traffic(used(reads=100, inserts=10, changes=20)))
    assert (forecast.sessions, forecast.at_most) == (waiting, waiting)


def test_a_writer_that_changes_many_rows_comes_once_and_no_more_come_than_transactions_end() -> None:
    many_rows = forecast_queue(trace(statement(lock(LockMode.SHARE))), traffic(used(reads=5, changes=9000)))
    assert many_rows.sessions == 5
    loading = forecast_queue(trace(statement(lock())), traffic(used(inserts=9000), transactions=3))
    assert (loading.sessions, loading.queues[0].sessions) == (3, 3)


def test_rows_that_a_script_changes_keep_out_who_changes_the_same_ones() -> None:
    updating = statement(lock(LockMode.ROW_EXCLUSIVE), sql="UPDATE public.orders SET total = 0", rows_changed=500)
    forecast = forecast_queue(trace(updating), traffic(used(reads=100, changes=100)))
    assert (forecast.sessions, forecast.queues[0].verdict) == (50, QueueVerdict.SHORT)
    assert "at most 500" in forecast.queues[0].notes[0]
    half_a_batch = replace(updating, duration=4 * SECOND, rows_changed=1000)
    batched = forecast_queue(trace(half_a_batch), traffic(used(reads=100, changes=100)), rehearsed_rows={ORDERS: 10})
    assert (batched.sessions, batched.queues[0].held) == (25, SECOND)
    inserting = replace(updating, sql="INSERT INTO public.orders VALUES (1)")
    assert forecast_queue(trace(inserting), traffic(used(reads=100, changes=100))).queues == ()
    unchanged = forecast_queue(trace(replace(updating, rows_changed=0)), traffic(used(reads=100, changes=100)))
    assert unchanged.queues == ()
    assert unchanged.sentence == "at 14:03 UTC nobody would wait: nothing is locked that keeps anybody out"


def test_what_reads_or_rewrites_a_table_takes_longer_on_a_grown_one() -> None:
    quick = statement(lock(held=2 * SECOND))
    slow = statement(sql="SELECT 1", since=SECOND, rows_scanned=100, rewrites=(ORDERS,))
    now = traffic(used(reads=10))
    (same,) = rehearsed_queues(trace(quick, slow), now)
    (grown,) = rehearsed_queues(trace(quick, slow), now, rehearsed_rows={ORDERS: 100})
    assert (same.held, grown.held, grown.scaled) == (2 * SECOND, 11 * SECOND, 5.5)


def test_a_try_waits_no_longer_than_its_timeout_and_clients_behind_it() -> None:
    busy = replace(used(reads=100), holders=(holder(timedelta(minutes=5), LockMode.ACCESS_SHARE),))
    forecast = forecast_queue(trace(statement(lock())), traffic(busy))
    assert forecast.queues[0].waits == timedelta(milliseconds=50)
    assert forecast.sessions == 105
    assert "wait for session 77 (report) or end it first" in forecast.advice[0]
    alone = statement(lock(), transactional=False)
    assert forecast_queue(trace(alone), traffic(busy)).queues[0].waits == timedelta(minutes=5)
    said = statement(sql="SET LOCAL lock_timeout = '3s'")
    assert forecast_queue(trace(said, statement(lock())), traffic(busy)).queues[0].waits == 3 * SECOND
    prepared = replace(used(reads=100), holders=(holder(timedelta(milliseconds=1), pid=None),))
    assert forecast_queue(trace(statement(lock())), traffic(prepared)).queues[0].waits == timedelta(milliseconds=50)
    reading = replace(used(reads=100), holders=(holder(timedelta(minutes=5), LockMode.ACCESS_SHARE),))
    assert forecast_queue(trace(statement(lock(LockMode.SHARE))), traffic(reading)).queues[0].blockers == ()


def test_autovacuum_does_not_give_way_to_a_short_try_and_never_before_wraparound() -> None:
    vacuum = replace(holder(SECOND, LockMode.SHARE_UPDATE_EXCLUSIVE), is_autovacuum=True)
    forecast = forecast_queue(trace(statement(lock())), traffic(replace(used(reads=1), holders=(vacuum,))))
    assert "one try waits 50 ms" in forecast.queues[0].notes[0]
    assert forecast.advice[0] == "wait until autovacuum is done with public.orders, or SELECT pg_cancel_backend(77)"
    urgent = replace(vacuum, prevents_wraparound=True)
    forecast = forecast_queue(trace(statement(lock())), traffic(replace(used(reads=1), holders=(urgent,))))
    assert forecast.advice[0].startswith("wait until autovacuum is done with public.orders")


def test_locks_of_one_transaction_add_up_and_those_of_two_do_not() -> None:
    now = traffic(used(reads=100), used(ITEMS, reads=100), clients=150, free=10)
    both = statement(lock(), lock(relation=ITEMS))
    together = forecast_queue(trace(both), now)
    assert (together.sessions, together.at_most, together.verdict) == (150, 160, QueueVerdict.EXHAUST)
    assert "if clients open a connection for each, all 161 are used up" in together.sentence
    apart = forecast_queue(trace(statement(lock()), statement(lock(relation=ITEMS, since=2 * SECOND))), now)
    assert (apart.sessions, apart.verdict) == (100, QueueVerdict.SHORT)
    scripts = (*rehearsed_queues(trace(both), now), *rehearsed_queues(trace(both, version="0008"), now))
    assert combine(scripts, now).sessions == 150
    orders = rehearsed_queues(trace(statement(lock())), now)
    items = rehearsed_queues(trace(statement(lock(relation=ITEMS)), version="0008"), now)
    assert combine([*orders, *items], now).sessions == 100
    stronger = statement(lock(LockMode.SHARE), lock(since=SECOND / 2, held=SECOND / 2))
    changing = traffic(used(reads=100, changes=100), clients=150)
    assert forecast_queue(trace(stronger), changing).sessions == 100


def test_indexes_go_with_their_table_and_partitions_with_their_parent() -> None:
    index = RelationName(schema="public", name="orders_pkey")
    on_index = replace(lock(relation=index), kind=RelationKind.INDEX)
    partition = replace(used(ITEMS, reads=60), within=(ORDERS,))
    now = traffic(used(reads=100), replace(used(reads=100), relation=index), partition)
    whole = forecast_queue(trace(statement(lock(), on_index, lock(relation=ITEMS))), now)
    assert [one.relation for one in whole.queues] == [ORDERS, ITEMS]
    assert whole.sessions == 100
    assert "public.items" not in lock_forecast_markdown(whole)
    alone = forecast_queue(trace(statement(lock(LockMode.SHARE_UPDATE_EXCLUSIVE), on_index)), now)
    assert [one.relation for one in alone.queues] == [index, ORDERS]
    assert (alone.queues[0].table, alone.sessions) == (ORDERS, 100)


def test_what_nobody_counts_is_not_nobody() -> None:
    view = replace(used(), reads_per_s=None, writes_per_s=None, changes_per_s=None)
    forecast = forecast_queue(trace(statement(lock())), traffic(view))
    assert (forecast.sessions, forecast.verdict) == (None, QueueVerdict.UNKNOWN)
    assert "how many is not known" in forecast.sentence
    assert forecast.not_seen == ("how often public.orders is used is not counted by the server",)


def test_what_was_not_rehearsed_has_rates_and_holders_and_no_times() -> None:
    (parsed,) = split_statements(f"{ALTER};", source="up.sql")
    planned = PlannedStatement(
        version="0007",
        source="up.sql",
        statement=parsed,
        transactional=True,
        lock_timeout=timedelta(milliseconds=50),
        statement_timeout=timedelta(hours=1),
        forecast=predict_locks(parsed),
        reversal="",
    )
    busy = replace(used(reads=100), holders=(holder(timedelta(minutes=5)),))
    forecast = forecast_unrehearsed([planned], traffic(busy))
    assert (forecast.verdict, forecast.sessions, forecast.queues[0].held) == (QueueVerdict.UNKNOWN, None, None)
    assert forecast.sentence == (
        "at 14:03 UTC clients have to wait on public.orders (ACCESS EXCLUSIVE, ALTER TABLE in line 1): 100 sessions a"
        " second come; how long is not known until it is rehearsed (squizzle rehearse 0007)"
    )
    assert "session 77" in forecast.advice[0]
    assert "each 0.1 s that it is held 10.0 more wait" in lock_forecast_lines(forecast)[1]
    idle = forecast_unrehearsed([planned], traffic(used()))
    assert (idle.verdict, idle.sessions) == (QueueVerdict.NOBODY, 0)


rates = st.floats(min_value=0, max_value=1e5)
times = st.timedeltas(min_value=NOTHING, max_value=timedelta(hours=2))
counts = st.integers(min_value=0, max_value=5000)


@given(reads=rates, more=rates, held=times, longer=times, clients=counts, free=counts, mode=st.sampled_from(LockMode))
def test_more_traffic_or_more_time_never_means_fewer_and_nobody_waits_without_a_connection(
    reads: float, more: float, held: timedelta, longer: timedelta, clients: int, free: int, mode: LockMode
) -> None:
    def crowd(rate: float, duration: timedelta) -> tuple[int, int, int]:
        now = traffic(used(reads=rate, changes=rate / 2), clients=clients, free=free)
        forecast = forecast_queue(trace(statement(lock(mode, held=duration), rows_changed=3)), now)
        assert forecast.sessions is not None
        assert forecast.at_most is not None
        assert 0 <= forecast.sessions <= forecast.at_most <= clients + free
        assert forecast.sessions <= clients
        return forecast.sessions, forecast.at_most, forecast.verdict.rank

    now = crowd(reads, held)
    assert all(one <= two for one, two in zip(now, crowd(reads + more, held), strict=True))
    assert all(one <= two for one, two in zip(now, crowd(reads, held + longer), strict=True))
