"""What a server counted before and since: told from resets, crashes, and what was left out."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from squizzle.rollout.baselines import Baseline, Noted
from squizzle.rollout.counters import KEPT, Counters, QueryCounter, compare_counters, counted_between, query_digest
from squizzle.rollout.soak import Observation
from squizzle.settings.watch import SoakLimits

AT = datetime(2026, 6, 1, 12, tzinfo=UTC)
LONG_AGO = AT - timedelta(days=10)
LIMITS = SoakLimits()


def counters(hours: int = 0, **more: Any) -> Counters:
    numbers = {"committed": 900, "rolled_back": 100, "deadlocks": 10, **more}
    known = {"server_started_at": LONG_AGO, "counted_since": LONG_AGO, "queries_since": LONG_AGO, **numbers}
    return Counters(at=AT + timedelta(hours=hours), **known)


def queries(**costs: tuple[int, float]) -> dict[str, QueryCounter]:
    return {name: QueryCounter(calls=calls, total_ms=total, text=name) for name, (calls, total) in costs.items()}


def compared(
    now: Counters, before: Counters | None, recent: Counters | None = None, *, all_queries: bool = False
) -> Observation:
    seen = Observation(target="t")
    return compare_counters(
        seen, now, before=before, recent=recent, begin=before, limits=LIMITS, all_queries=all_queries
    )


def test_what_is_judged_is_the_time_since_the_migration_against_the_time_before() -> None:
    before = counters(queries=queries(slow=(100, 1000.0), same=(100, 1000.0), rare=(100, 1000.0)))
    now = counters(
        24,
        committed=1800,
        rolled_back=400,
        deadlocks=13,
        queries=queries(slow=(200, 4000.0), same=(200, 2000.0), rare=(149, 9999.0), new=(60, 600.0)),
    )

    seen = compared(now, before)
    assert (seen.error_pct, seen.baseline_error_pct) == (25.0, 10.0)
    assert (seen.deadlocks, seen.usual_deadlocks, seen.restarted_at) == (3, 1.0, None)
    # 49 calls are too few, and what is well is not kept of a migrated target.
    assert [(one.query, one.mean_ms, one.calls, one.baseline_ms) for one in seen.queries] == [
        ("slow", 30.0, 100, 10.0),
        ("new", 10.0, 60, None),
    ]
    assert {one.query for one in compared(now, before, all_queries=True).queries} == {"slow", "same", "new"}
    # Nobody looked before: nothing is said of errors or queries.
    blind = compared(now, None)
    assert (blind.error_pct, blind.queries) == (None, ())
    assert "were not kept" in blind.no_queries


def test_the_last_hours_say_more_of_the_time_before_than_all_years_where_they_are_enough() -> None:
    earlier = counters(-2, queries=queries(grown=(1000, 1000.0), rare=(1000, 1000.0)))
    before = counters(committed=1800, rolled_back=200, queries=queries(grown=(1100, 2000.0), rare=(1001, 1010.0)))
    now = counters(2, committed=2700, rolled_back=300, queries=queries(grown=(1200, 3000.0), rare=(1101, 2010.0)))
    baseline = Baseline(before=Noted(counters=before), earlier=Noted(counters=earlier))

    seen = compared(now, before, baseline.recent, all_queries=True)
    assert {one.query: one.baseline_ms for one in seen.queries} == {"grown": 10.0, "rare": 1010 / 1001}
    assert compared(now, before, baseline.recent).queries[0].query == "rare"
    few = replace(earlier, committed=1750, rolled_back=190)
    assert compared(now, before, counted_between(few, before)).baseline_error_pct == 10.0
    assert compared(now, before, counted_between(earlier, before)).baseline_error_pct == 10.0


@pytest.mark.parametrize(
    ("now", "committed", "calls"),
    [
        ({}, 100, 20),
        # Somebody reset the database's counters, or a crash did.
        ({"counted_since": AT + timedelta(minutes=1)}, 1000, 20),
        ({"committed": 50, "counted_since": None}, 50, 20),
        # Somebody reset those of queries, or the server forgot one for another.
        ({"queries_since": AT + timedelta(minutes=1)}, 100, 120),
        ({"queries": queries(one=(7, 7.0))}, 100, 7),
        ({"queries_since": None, "queries": {}, "no_queries": "gone"}, 100, None),
    ],
)
def test_counters_that_began_anew_are_taken_as_they_are(now: dict[str, Any], committed: int, calls: int | None) -> None:
    begin = counters(queries=queries(one=(100, 100.0)))
    since = counted_between(begin, counters(1, **{"committed": 1000, "queries": queries(one=(120, 300.0)), **now}))

    assert since.committed == committed
    assert since.queries["one"].calls == calls if calls else not since.queries


def test_a_server_that_was_started_since_is_told() -> None:
    now = counters(1, server_started_at=AT + timedelta(minutes=5))

    assert compared(now, counters()).restarted_at == AT + timedelta(minutes=5)


def test_few_transactions_are_no_percentage() -> None:
    assert compared(counters(1, committed=950, rolled_back=149), counters()).error_pct is None
    assert compared(counters(1, committed=950, rolled_back=150), counters()).error_pct == 50.0


def test_what_is_kept_is_small_and_what_was_left_out_cannot_look_slow_by_itself() -> None:
    many = {f"{number:012x}": QueryCounter(calls=number, total_ms=float(number), text="x") for number in range(5000)}
    kept = counters(queries=many).kept()
    text = json.dumps(kept.to_json())

    assert (len(kept.queries), kept.floor_ms) == (KEPT, 4800.0)
    assert len(text) < 8000
    assert Counters.from_json(json.loads(text)) == kept
    # It had taken up to 4,800 ms before, so that much of what it has by now may be old.
    assert counted_between(kept, counters(queries=many)).queries[f"{17:012x}"].total_ms == 0.0
    slow = replace(kept, queries={f"{17:012x}": QueryCounter(calls=100, total_ms=9800.0)}, floor_ms=0.0)
    assert counted_between(kept, slow).queries[f"{17:012x}"].mean_ms == 50.0


def test_a_query_is_the_same_in_every_database_however_it_is_laid_out() -> None:
    assert query_digest("SELECT 1\n  FROM t") == query_digest("SELECT 1 FROM t")
    assert query_digest("SELECT 1 FROM t") != query_digest("SELECT 2 FROM t")
