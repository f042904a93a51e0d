"""What a version took on a target, beside its rehearsal on another amount of rows."""

from __future__ import annotations

from datetime import timedelta

import pytest

from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import RelationName
from squizzle.migrations.records import Direction
from squizzle.rehearsal.records import RelationKind, ScriptTrace, TracedLock, TracedStatement
from squizzle.rollout.budget import AppliedVersion, KnownRelation, RehearsedVersion, compare_budget
from squizzle.rollout.soak import BudgetUse, Observation, Sign, judge_soak

ORDERS = RelationName(schema="public", name="orders")


def ms(number: float) -> timedelta:
    return timedelta(milliseconds=number)


def rehearsed(rows: int | None = 1000) -> RehearsedVersion:
    """A second for what reads all rows, and a tenth of one for what does not."""
    lock = TracedLock(relation=ORDERS, kind=RelationKind.TABLE, mode=LockMode.SHARE, since=ms(0))

    def statement(number: int, duration: float, rows_scanned: int) -> TracedStatement:
        return TracedStatement(
            number=number,
            line=number,
            sql="x",
            transactional=True,
            since=ms(0),
            duration=ms(duration),
            locks=(lock,),
            rows_scanned=rows_scanned,
        )

    statements = (statement(1, 1000, 1000), statement(2, 100, 0))
    trace = ScriptTrace(version="1", direction=Direction.APPLY, duration=ms(1100), statements=statements)
    return RehearsedVersion(trace=trace, schema="public", rows={} if rows is None else {ORDERS: rows})


@pytest.mark.parametrize(
    ("rows_then", "rows_here", "allowed_ms"),
    [(1000, 3000.0, 3100), (1000, 10.0, 1100), (1000, None, 1100), (None, 3000.0, 1100)],
)
def test_what_reads_rows_may_take_longer_where_there_are_more(
    rows_then: int | None, rows_here: float | None, allowed_ms: int
) -> None:
    applied = AppliedVersion(version="1", duration=ms(5000), lock_wait=ms(1500))
    known = {"tenant.orders": KnownRelation(rows=rows_here)}
    script, wait = compare_budget(applied, rehearsed(rows_then), known, schema="tenant")

    assert (script.observed, script.rehearsed) == (ms(3500), ms(allowed_ms))
    assert (wait.observed, wait.is_wait) == (ms(1500), True)


def test_a_lock_that_was_not_rehearsed_is_told_but_not_that_of_one_more_partition() -> None:
    locks = {
        "public.orders": LockMode.SHARE,
        "public.orders_2027": LockMode.SHARE,
        "public.others": LockMode.ROW_EXCLUSIVE,
    }
    known = {"public.orders_2027": KnownRelation(root="public.orders")}

    def unforeseen(**more: LockMode) -> list[str]:
        applied = AppliedVersion(version="1", duration=ms(5), lock_wait=ms(0), locks=locks | more)
        uses = compare_budget(applied, rehearsed(), known, schema="public")
        return [use.what.partition(",")[0] for use in uses if use.rehearsed is None]

    assert unforeseen() == ["ROW EXCLUSIVE on public.others"]
    assert unforeseen(**{"public.orders_2027": LockMode.ACCESS_EXCLUSIVE})[0] == (
        "ACCESS EXCLUSIVE on public.orders_2027"
    )


def test_waiting_for_locks_has_a_limit_of_its_own() -> None:
    def verdict(wait_ms: float) -> list[Sign]:
        wait = BudgetUse(what="w", rehearsed=ms(0), observed=ms(wait_ms), is_wait=True)
        return [one.sign for one in judge_soak([Observation(target="a", budget=(wait,))], []).reasons]

    assert verdict(9_999) == []
    assert verdict(10_001) == [Sign.BUDGET]
