"""What moved between sweeps: each metric of a target against its own past."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from squizzle.alerts.records import AlertResult, AlertRule
from squizzle.backups.folder_store import FolderStore
from squizzle.frames.moves import courses, find_moves, hours, sweeps_in
from squizzle.frames.sweeps import forget_fleets, keep_sweep, read_sweeps, sweep_frame
from squizzle.rollout.records import FleetTarget
from squizzle.severity import Severity
from squizzle.sweep.records import Metrics, Sweep, TargetHealth

BEGIN = datetime(2026, 11, 26, 9, tzinfo=UTC)
FULL = AlertRule(name="disk full", condition="", severity=Severity.HIGH)
SWEEPS = 13


def sweep_of(at: datetime, **targets: Metrics | None) -> Sweep:
    """One that found these metrics; None for a target that did not answer."""
    return Sweep(
        fleet="shops",
        at=at,
        duration=timedelta(seconds=1),
        targets=tuple(
            TargetHealth(
                target=FleetTarget(name=name, server="eu", database=name, schema="public"),
                is_reached=metrics is not None,
                metrics=metrics or {},
                results=(AlertResult(rule=FULL, is_true=None if metrics is None else bool(metrics.get("full"))),),
            )
            for name, metrics in targets.items()
        ),
    )


Found = Callable[[int], dict[str, Metrics | None]]


def kept(folder: Path, found: Found) -> FolderStore:
    store = FolderStore(folder)
    for number in range(SWEEPS):
        at = BEGIN + number * timedelta(minutes=5)
        keep_sweep(store, sweep_of(at, **found(number)), at, keep=timedelta(days=90))
    return store


def test_a_sweep_is_a_row_for_each_target_with_what_is_not_known_missing() -> None:
    frame = sweep_frame(sweep_of(BEGIN, a={"connections": 3, "is_standby": True, "lag_s": None, "full": 1}, b=None))

    (a, b) = frame.to_dict("records")
    assert (a["at"], a["target"], a["metric.connections"], a["metric.is_standby"]) == (BEGIN, "a", 3.0, 1.0)
    assert (a["rule.disk full"], b["rule.disk full"]) == ("firing", "unknown")
    assert list(frame[["metric.connections", "metric.lag_s"]].isna().to_numpy().ravel()) == [False, True, True, True]
    assert (a["is_reached"], b["is_reached"]) == (True, False)


def busy(number: int) -> dict[str, Metrics | None]:
    last = number == SWEEPS - 1
    return {
        # Grows evenly, hovers, never moved, moves by a hair, moves by what is no more than noise of a small count.
        "quiet": {
            "commits": 1000 * number, "cache_hit_pct": 99.0 + number % 2, "standbys": 1, "size_bytes": 10**9 + number // 9,
            "lock_waits": 2 * last, "lag_s": 0.1 * (number % 3),
        },
        "moved": {"commits": 1000 * number, "cache_hit_pct": 60.0 if last else 99.0 + number % 2, "lag_s": 40.0 if last else 0.1},
        "moved less": {"commits": 90_000 * last, "cache_hit_pct": 90.0 if last else 99.0 + number % 2},
        "gone": None if last else {"cache_hit_pct": 99.0, "lag_s": 0.0},
        "new": {"lock_waits": 900} if last else None,
    }  # fmt: skip


def test_what_moved_is_found_once_each_where_it_moved_most(tmp_path: Path) -> None:
    found = read_sweeps(kept(tmp_path, busy), "shops", BEGIN)

    moves = {one.metric: one for one in find_moves(found.frame)}
    assert set(moves) == {"commits", "cache_hit_pct", "lag_s"}
    cache = moves["cache_hit_pct"]
    assert (cache.target, cache.now, cache.usual, cache.targets) == ("moved", 60.0, 99.5, 2)
    assert moves["commits"].target == "moved less"
    assert cache.points[-2:] == ((BEGIN + timedelta(minutes=55), 100.0), (BEGIN + timedelta(hours=1), 60.0))
    assert len(cache.points) == sweeps_in(found.frame) == SWEEPS
    assert [one.metric for one in find_moves(found.frame, most=1)] == [
        max(moves.values(), key=lambda one: one.score).metric
    ]


def test_of_too_few_sweeps_nothing_is_said_to_have_moved(tmp_path: Path) -> None:
    store = kept(tmp_path, busy)

    last = BEGIN + timedelta(hours=1)
    assert find_moves(read_sweeps(store, "shops", last - timedelta(minutes=20)).frame) == ()
    assert find_moves(read_sweeps(store, "shops", last + timedelta(days=1)).frame) == ()
    assert find_moves(read_sweeps(store, "nobody", BEGIN).frame) == ()


def test_the_course_of_a_metric_is_told_by_target_and_by_hour(tmp_path: Path) -> None:
    store = kept(tmp_path, busy)

    frame = read_sweeps(store, "shops", BEGIN, metric="cache_hit_pct").frame
    first, *_, gone = courses(frame, "cache_hit_pct")
    assert (first.target, first.sweeps, first.least, first.usual, first.most, first.now) == (
        "moved", SWEEPS, 60.0, 99.5, 100.0, 60.0,
    )  # fmt: skip
    assert (gone.target, gone.sweeps, gone.score) == ("gone", SWEEPS - 1, None)
    nine, ten = hours(frame, "cache_hit_pct")
    assert (nine.at, nine.least, nine.most) == (BEGIN, 99.0, 100.0)
    assert (ten.at, ten.least, ten.median, ten.most) == (BEGIN + timedelta(hours=1), 60.0, 90.0, 99.0)
    assert courses(frame, "nonsense") == () == hours(frame, "nonsense")


def test_the_first_sweep_of_an_hour_is_known_as_that(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    first = [
        keep_sweep(store, sweep_of(at, a={}), at + timedelta(minutes=1), keep=timedelta(days=1)).is_first_of_hour
        for at in (BEGIN + timedelta(minutes=5 * number + 2) for number in range(26))
    ]

    assert first == [number in {0, 12, 24} for number in range(26)]


def test_what_was_kept_of_a_fleet_that_is_gone_is_removed_and_that_of_somebody_else_stays(tmp_path: Path) -> None:
    store, keep = FolderStore(tmp_path), timedelta(days=30)
    for fleet, days in (("gone.de", (90, 31)), ("idle", (90, 31)), ("elsewhere", (90, 29)), ("shops", (1,))):
        for one in days:
            at = BEGIN - timedelta(days=one)
            keep_sweep(store, replace(sweep_of(at, a={}), fleet=fleet), at, keep=timedelta(days=365))
    store.put_bytes("sweeps/gone.de.txt", b"a note of somebody's")
    before = store.list_paths("sweeps")

    assert forget_fleets(store, ["shops", "idle"], BEGIN, keep=keep) == ("gone%2Ede",)

    assert store.list_paths("sweeps") == tuple(one for one in before if not one.startswith("gone%2Ede/"))
    assert forget_fleets(store, ["shops", "idle"], BEGIN, keep=keep) == ()
