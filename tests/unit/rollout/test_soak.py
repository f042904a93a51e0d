"""Three verdicts about migrated targets, and how long they are still to be watched."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from squizzle.rollout.soak import (
    BudgetUse,
    CheckOutcome,
    FiringAlert,
    Observation,
    QueryTime,
    Sign,
    SoakVerdict,
    judge_soak,
    remaining_soak,
    soak_began,
)
from squizzle.settings.watch import SoakLimits

PASS, FAIL, OPEN = SoakVerdict.PASS, SoakVerdict.FAIL, SoakVerdict.INCONCLUSIVE
AT = datetime(2026, 6, 1, 12, tzinfo=UTC)


def query(mean_ms: float, baseline_ms: float | None, calls: int = 1000) -> dict[str, Any]:
    return {"queries": (QueryTime(query="SELECT $1", mean_ms=mean_ms, calls=calls, baseline_ms=baseline_ms),)}


def budget(rehearsed_ms: int | None, observed_ms: int) -> dict[str, Any]:
    rehearsed = None if rehearsed_ms is None else timedelta(milliseconds=rehearsed_ms)
    return {"budget": (BudgetUse(what="w", rehearsed=rehearsed, observed=timedelta(milliseconds=observed_ms)),)}


ALERT, CHECK = FiringAlert(rule="pool full"), CheckOutcome(name="orders are paid", ok=False)


@pytest.mark.parametrize(
    ("migrated", "rest", "verdict", "sign"),
    [
        ({}, {}, PASS, None),
        ({"alerts": (ALERT,)}, {}, FAIL, Sign.ALERT),
        ({"alerts": (ALERT,)}, {"alerts": (ALERT,)}, OPEN, Sign.ALERT),
        ({"alerts": (FiringAlert(rule="pool full", since_before=True),)}, {}, PASS, None),
        ({"alerts": (FiringAlert(rule="bloat", critical=False),)}, {}, OPEN, Sign.ALERT),
        ({"alerts": (FiringAlert(rule="pool full", unknown="no such table"),)}, {}, OPEN, Sign.ALERT),
        ({"deadlocks": 4}, {}, FAIL, Sign.DEADLOCKS),
        ({"deadlocks": 4, "usual_deadlocks": 3.0}, {}, PASS, None),
        ({"restarted_at": AT}, {}, OPEN, Sign.RESTART),
        ({"no_queries": "not loaded"}, {}, PASS, None),
        ({"checks": (CHECK,)}, {}, FAIL, Sign.CHECK),
        ({"checks": (CHECK,)}, {"checks": (CHECK,)}, OPEN, Sign.CHECK),
        ({"checks": (CheckOutcome(name="c", ok=None),)}, {}, OPEN, Sign.CHECK),
        ({"unseen": ("no answer within 10 s",)}, {}, OPEN, Sign.REACH),
        ({"error_pct": 3.0, "baseline_error_pct": 0.5}, {}, FAIL, Sign.ERRORS),
        ({"error_pct": 3.0, "baseline_error_pct": 2.5}, {}, PASS, None),
        (
            {"error_pct": 3.0, "baseline_error_pct": 0.5},
            {"error_pct": 3.0, "baseline_error_pct": 0.5},
            OPEN,
            Sign.ERRORS,
        ),
        ({"lock_waits": 6}, {"lock_waits": 5}, FAIL, Sign.LOCK_WAITS),
        ({"replication_lag": timedelta(minutes=1)}, {}, FAIL, Sign.REPLICATION),
        ({"replication_lag": timedelta(minutes=1)}, {"replication_lag": timedelta(minutes=2)}, OPEN, Sign.REPLICATION),
        (query(16, 10), query(10, 10), FAIL, Sign.QUERY),
        (query(16, 10), query(16, 10), OPEN, Sign.QUERY),
        # It takes a little longer everywhere than what was counted before, which is all that is old about it.
        (query(16, 10), query(12, 10), PASS, None),
        (query(19, 10), query(12, 10), FAIL, Sign.QUERY),
        (query(14, 10), query(5, 5), PASS, None),
        (query(16, 10, calls=49), {}, PASS, None),
        (query(0.9, 0.1), {}, PASS, None),
        (query(16, None), query(10, None), OPEN, Sign.QUERY),
        (query(16, None), query(10, None, calls=3), PASS, None),
        (budget(200, 399), {}, PASS, None),
        (budget(200, 401), {}, OPEN, Sign.BUDGET),
        (budget(1, 90), {}, PASS, None),
        (budget(None, 1), {}, OPEN, Sign.BUDGET),
    ],
)
def test_one_sign_gives_one_verdict(
    migrated: dict[str, Any], rest: dict[str, Any], verdict: SoakVerdict, sign: Sign | None
) -> None:
    report = judge_soak([Observation(target="a", **migrated)], [Observation(target="z", **rest)])

    assert report.verdict is verdict
    assert [(reason.target, reason.sign, reason.verdict) for reason in report.reasons] == (
        [] if sign is None else [("a", sign, verdict)]
    )


def test_a_server_that_was_started_meanwhile_is_slow_for_a_while_and_that_is_no_proof() -> None:
    report = judge_soak([Observation(target="a", restarted_at=AT, **query(16, 10))], [])

    assert [(one.sign, one.verdict) for one in report.reasons] == [(Sign.RESTART, OPEN), (Sign.QUERY, OPEN)]


def test_queries_that_cannot_be_compared_are_told_once_and_asked_about_where_that_is_wanted() -> None:
    blind = [Observation(target=name, no_queries="not loaded") for name in "abc"]

    assert judge_soak(blind, []).remarks == ("queries were not compared: not loaded",)
    wanted = judge_soak(blind, [], limits=SoakLimits(require_queries=True))
    assert [(one.target, one.sign) for one in wanted.reasons] == [(name, Sign.QUERY) for name in "abc"]


def test_the_worst_sign_counts_and_comes_first() -> None:
    report = judge_soak(
        [Observation(target="a", unseen=("no answer",)), Observation(target="b", alerts=(ALERT,))],
        [],
        remaining=timedelta(minutes=5),
    )

    assert (report.verdict, report.is_over) == (FAIL, True)
    assert [reason.text for reason in report.reasons] == ["pool full fires", "no answer"]


def test_nothing_looked_at_is_no_pass_and_a_pass_waits_for_its_time() -> None:
    assert judge_soak([], []).verdict is OPEN
    well = [Observation(target="a")]
    assert not judge_soak(well, [], remaining=timedelta(seconds=1)).is_over
    assert judge_soak(well, []).is_over


@pytest.mark.parametrize(("since_min", "left_min"), [(0, 30), (10, 20), (30, 0), (500, 0), (-20, 30)])
def test_the_time_that_remains_is_computed_from_the_history(since_min: int, left_min: int) -> None:
    remaining = remaining_soak(started_at=AT, duration=timedelta(minutes=30), now=AT + timedelta(minutes=since_min))

    assert remaining == timedelta(minutes=left_min)


def test_a_soak_begins_when_the_last_target_is_migrated() -> None:
    assert soak_began([AT, AT + timedelta(minutes=3), AT]) == AT + timedelta(minutes=3)
    assert soak_began([AT, None]) is None
    assert soak_began([]) is None
