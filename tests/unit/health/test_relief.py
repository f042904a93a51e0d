"""What would be done for relief, and which queries have become slower."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from squizzle.errors import CouldNotVerifyError
from squizzle.health.queries import QueryCost, QueryStats, find_regressions
from squizzle.health.tables import TableLoad, worst_tables

NOW = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)


def stats(costs: dict[int, tuple[int, float]], *, since: datetime = NOW - timedelta(days=9)) -> QueryStats:
    queries = {
        number: QueryCost(calls=calls, total_ms=total, query=f"q{number}") for number, (calls, total) in costs.items()
    }
    return QueryStats(at=NOW, counted_since=since, server_version=18, queries=queries)


def test_a_query_is_slower_when_what_came_since_the_baseline_is() -> None:
    good = stats({1: (100_000, 100_000.0), 2: (100, 1000.0), 3: (100, 1000.0), 4: (100, 100.0)})
    now = stats(
        {
            1: (100_100, 101_000.0),  # 1 ms before, 10 ms since: the mean of all hardly moved
            2: (200, 2100.0),  # 10 ms before, 11 ms since
            3: (105, 9000.0),  # too few calls to say
            4: (50, 5000.0),  # its counter began anew: 100 ms since
            5: (20, 4000.0),  # was not there
            6: (20, 2.0),  # was not there and costs nothing
        }
    )

    found = find_regressions(good, now)

    assert [(one.number, one.calls, one.before_ms, one.now_ms) for one in found] == [
        (4, 50, 1.0, 100.0),
        (5, 20, None, 200.0),
        (1, 100, 1.0, 10.0),
    ]
    assert found[2].added_ms == pytest.approx(900.0)


def test_counters_that_were_reset_since_the_baseline_are_taken_as_they_are() -> None:
    good = stats({1: (100, 100.0)})
    now = stats({1: (200, 2000.0)}, since=NOW - timedelta(hours=1))

    assert [(one.calls, one.now_ms) for one in find_regressions(good, now)] == [(200, 10.0)]


def test_a_baseline_of_another_major_version_cannot_be_compared() -> None:
    with pytest.raises(CouldNotVerifyError, match="numbers queries in its own way"):
        find_regressions(stats({}), replace(stats({}), server_version=15))


def test_tables_are_cleaned_that_are_worth_it_the_worst_first() -> None:
    def table(name: str, live: int, dead: int, *, busy: bool = False) -> TableLoad:
        return TableLoad(
            schema="public",
            name=name,
            live_rows=live,
            dead_rows=dead,
            changed_rows=0,
            size_bytes=1,
            is_being_vacuumed=busy,
        )

    tables = [
        table("few", 10, 999),
        table("small share", 100_000, 5_000),
        table("worth it", 0, 1_000),
        table("worse", 50_000, 40_000),
        table("on it", 1, 90_000, busy=True),
        table("worst", 1, 50_000),
    ]

    assert [one.name for one in worst_tables(tables, at_most=2)] == ["worst", "worse"]
    assert [one.name for one in worst_tables(tables, at_most=9)] == ["worst", "worse", "worth it"]
    assert worst_tables(tables, at_most=0) == ()
