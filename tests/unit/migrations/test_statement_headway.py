"""A long statement: a sentence where nobody looks on, a stretch for each of its phases where somebody does."""

from __future__ import annotations

from squizzle.headway import Unit, told_to
from squizzle.migrations.statement_headway import Progress, StatementHeadway
from tests.support.heard import Heard

SCANNING = Progress("index public.orders_at", "building index: scanning table", 10, 40, "blocks")
LOADING = Progress("index public.orders_at", "building index: loading tuples in tree", 700, 0, "rows")


def test_nobody_looks_on_so_it_is_told_as_sentences() -> None:
    told: list[str] = []
    headway = StatementHeadway(told.append)
    for progress in (SCANNING, LOADING):
        headway.see(progress)
    headway.end()

    assert told == [
        "index public.orders_at: building index: scanning table, 10 of 40 blocks",
        "index public.orders_at: building index: loading tuples in tree, 700 rows",
    ]


def test_whoever_looks_on_sees_each_phase_count_anew() -> None:
    told: list[str] = []
    heard = Heard()
    headway = StatementHeadway(told.append)
    with told_to(heard):
        for progress in (SCANNING, SCANNING, LOADING):
            headway.see(progress)
        headway.end()
        headway.see(SCANNING)
        headway.end()

    assert told == []
    assert [(one.doing.rpartition(": ")[2], one.done, one.total, one.unit) for one in heard.ends] == [
        ("scanning table", 10, 40, Unit.PAGES),
        ("loading tuples in tree", 700, 0, Unit.ROWS),
        ("scanning table", 10, 40, Unit.PAGES),
    ]
