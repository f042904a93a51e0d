"""What drills cost: kept, compared with the budget and with drills before, and used to forecast a recovery."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from squizzle.backups.folder_store import FolderStore
from squizzle.drills.figures import DrillFigures, comparable, figures_of, judged_by_cost
from squizzle.drills.records import DrillReport, DrillScenario, DrillVerdict, Findings
from squizzle.frames.drills import drilled_ways, keep_drill, read_drills, trend_of
from squizzle.recovery.evidence import Evidence
from squizzle.recovery.ways import DrilledWay, Way, WayBack
from squizzle.reports.drill_trend import _points, costs_picture
from squizzle.settings.drills import DrillBudget

NOW = datetime(2026, 11, 26, 9, tzinfo=UTC)
MONTH = timedelta(days=30)


def drill(months_ago: int = 0, *, rto_s: float | None = 60.0, **fields: object) -> DrillFigures:
    made = DrillFigures(
        at=NOW - months_ago * MONTH,
        run=f"{months_ago:08d}",
        scenario="data_loss",
        way="restore_beside",
        source="the example company",
        size_bytes=10**9,
        rows=200_000,
        rto=None if rto_s is None else timedelta(seconds=rto_s),
        rpo=timedelta(seconds=30),
        detected_in=timedelta(seconds=1.5),
        recovered=True,
        verdict="pass",
        version="0.1",
        server_version="18.6",
    )
    return replace(made, **fields)  # type: ignore[arg-type]


def report(rto_s: float = 60.0, *, verdict: DrillVerdict = DrillVerdict.PASS) -> DrillReport:
    way = WayBack(way=Way.RESTORE_BESIDE, name="b", possible=True, why="")
    evidence = Evidence(disaster_at=NOW, noticed_at=NOW, recovered_at=NOW + timedelta(seconds=rto_s), decisions=(way,))
    findings = Findings(evidence=evidence, size_bytes=10**9)
    found = DrillReport(
        run_id="aaaaaaaa",
        scenario=DrillScenario.DATA_LOSS,
        verdict=verdict,
        reasons=("all rows are there",),
        started_at=NOW,
        server_version="18.6",
        steps=(),
        findings=findings,
    )
    assert figures_of(found).rto == timedelta(seconds=rto_s)
    return found


THREE = tuple(drill(months_ago, rto_s=rto_s) for months_ago, rto_s in ((1, 50.0), (2, 60.0), (3, 600.0)))


@pytest.mark.parametrize(
    ("rto_s", "earlier", "fails"),
    [
        (121.0, THREE, True),
        (119.0, THREE, False),
        (9999.0, THREE[:2], False),
        (9999.0, (*THREE[:2], drill(3, recovered=False)), False),
        (9999.0, (*THREE[:2], drill(3, way="undo")), False),
        (9999.0, (*THREE[:2], drill(3, size_bytes=10**10)), False),
        (9999.0, (*THREE[:2], drill(-1)), False),
        # Slower by more than twice, and nobody would notice.
        (5.0, tuple(drill(number, rto_s=1.0) for number in (1, 2, 3)), False),
        # What was usual long ago counts no more.
        (121.0, (*(drill(number, rto_s=1.0) for number in range(20, 60)), *(drill(n, rto_s=61.0) for n in range(1, 13))), False),
    ],
)  # fmt: skip
def test_a_drill_that_takes_twice_what_is_usual_has_failed(
    rto_s: float, earlier: tuple[DrillFigures, ...], *, fails: bool
) -> None:
    judged = judged_by_cost(report(rto_s), earlier, DrillBudget())

    assert (judged.verdict is DrillVerdict.FAIL) == fails
    if fails:
        assert judged.reasons[0].startswith(
            "RTO is 2 min 1 s, more than twice the 1 min that is usual: the median of 3"
        )
        assert judged.reasons[1:] == ("all rows are there",)


def test_a_drill_beyond_its_budget_has_failed_and_one_that_failed_already_stays_as_it_is() -> None:
    budget = DrillBudget(rto=timedelta(seconds=59), rpo=timedelta(seconds=1))

    judged = judged_by_cost(report(60.0), (), DrillBudget(rto=timedelta(seconds=59)))
    assert judged.reasons[0] == "RTO is 1 min, and the budget of [drills] is 59 s"
    assert judged_by_cost(report(59.0), (), DrillBudget(rto=timedelta(seconds=59))).verdict is DrillVerdict.PASS
    unverified = report(60.0, verdict=DrillVerdict.COULD_NOT_VERIFY)
    assert judged_by_cost(unverified, THREE, budget) == unverified


def test_what_is_kept_of_drills_is_read_as_it_was(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    kept = [drill(2), drill(1, rto_s=None, size_bytes=None, rows=None, rpo=None, detected_in=None, way=""), drill()]

    for one in kept:
        assert keep_drill(store, one, one.at + timedelta(minutes=5)) == ()

    found = read_drills(store)
    assert list(found.figures) == kept
    assert found.problems == ()
    assert read_drills(FolderStore(tmp_path / "nothing")).figures == ()


def test_the_trend_is_told_by_disaster_way_and_size() -> None:
    slow = drill(0, rto_s=150.0, recovered=True, verdict="fail")
    found = trend_of(
        [
            *THREE,
            drill(9, rto_s=9999.0, recovered=False, verdict="fail"),
            slow,
            drill(4, rows=5_000_000),
            drill(5, scenario="locked_database", way="end", rows=None),
        ]
    )

    assert [tuple(row) for row in found[["scenario", "way", "size", "drills", "passed"]].to_numpy()] == [
        ("data_loss", "restore_beside", 100_000, 5, 3),
        ("data_loss", "restore_beside", 1_000_000, 1, 1),
        ("locked_database", "end", 0, 1, 1),
    ]
    first = found.iloc[0]
    assert (first["usual_rto_s"], first["last_rto_s"], first["times"]) == (105.0, 150.0, 150 / 105)


def test_a_recovery_hears_what_its_ways_took_in_the_newest_drills() -> None:
    many = [drill(number, rto_s=float(number)) for number in range(1, 20)]
    ways = drilled_ways(
        [*many, drill(0, rto_s=3.0, recovered=False), drill(0, way="undo", rto_s=2.0), drill(0, way="end")]
    )

    restored = [one.took.total_seconds() for one in ways if one.way is Way.RESTORE_BESIDE]
    assert restored == [float(number) for number in range(12, 0, -1)]
    assert [one for one in ways if one.way is not Way.RESTORE_BESIDE] == [
        DrilledWay(way=Way.UNDO, took=timedelta(seconds=2), rows=200_000)
    ]
    assert comparable(drill(), []) == ()


def test_a_picture_has_every_drill_that_was_measured_also_those_that_lost_nothing() -> None:
    figures = [drill(2, rpo=timedelta()), drill(1, rpo=None), drill()]

    assert _points(figures, "rpo") == ([figures[0].at.timestamp(), NOW.timestamp()], [0.0, 30.0])
    assert costs_picture(figures[:1], DrillBudget()) == b""
