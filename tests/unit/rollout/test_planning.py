"""Who is migrated when."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squizzle.errors import InvalidInputError
from squizzle.rollout.planning import cumulative_counts, plan_rollout, rollout_order
from squizzle.rollout.records import FleetTarget, PlannedVersion, RolloutKind, RolloutPlan, RowShare, Stage

GUIDE = (
    Stage(name="canary", percentage=5, duration=timedelta(minutes=30), rollback_on_error=True),
    Stage(name="partial", percentage=25, duration=timedelta(hours=2), rollback_on_error=True),
    Stage(name="full", percentage=100, approval_required=True),
)
VERSIONS = (PlannedVersion(version="0001", checksum="a" * 64), PlannedVersion(version="0002", checksum="b" * 64))


def fleet_of(count: int) -> list[FleetTarget]:
    return [FleetTarget(name=f"s/t{number}", server="s", database=f"t{number}") for number in range(count)]


def plan(targets: list[FleetTarget], stages: tuple[Stage, ...] = GUIDE, **more: Any) -> RolloutPlan:
    return plan_rollout(targets, stages, more.pop("versions", VERSIONS), fleet="shops", **more)


percentages = st.lists(st.integers(1, 99), unique=True, max_size=6).map(lambda some: [*sorted(some), 100])


@given(st.integers(1, 400), percentages)
def test_counts_are_right_for_any_fleet_and_any_stages(size: int, steps: list[int]) -> None:
    counts = cumulative_counts(size, steps)

    assert counts[-1] == size
    assert all(before <= after for before, after in pairwise((0, *counts)))
    assert sum(before < after for before, after in pairwise((0, *counts))) == min(size, len(steps))
    for number, (before, count, step) in enumerate(zip((0, *counts), counts, steps, strict=False), start=1):
        # Never more than the percentage, but for the one that each stage gets; and never less, but for the later ones.
        assert count <= max(size * step // 100, before + 1)
        assert count >= min(size * step // 100, max(size - len(steps) + number, 0))


@pytest.mark.parametrize(
    ("size", "counts"),
    [
        (10_000, (500, 2500, 10_000)),
        (40, (2, 10, 40)),
        (30, (1, 7, 30)),
        (4, (1, 2, 4)),
        (3, (1, 2, 3)),
        (2, (1, 1, 2)),
    ],
)
def test_the_guides_percentages_of_some_fleets(size: int, counts: tuple[int, ...]) -> None:
    assert cumulative_counts(size, [5, 25, 100]) == counts


targets_of_all_kinds = st.lists(
    st.builds(
        FleetTarget,
        name=st.text("abc", min_size=1, max_size=6),
        server=st.just("s"),
        database=st.just("d"),
        tier=st.integers(0, 2),
        size=st.none() | st.integers(0, 10**6),
        pinned=st.booleans(),
    ),
    min_size=2,
    max_size=60,
    unique_by=lambda target: target.name,
)


@given(targets_of_all_kinds, percentages, st.randoms(use_true_random=False))
def test_every_target_is_in_one_stage_whatever_the_order_they_come_in(
    targets: list[FleetTarget], steps: list[int], order: random.Random
) -> None:
    stages = tuple(Stage(name=f"s{step}", percentage=step) for step in steps)
    shuffled = list(targets)
    order.shuffle(shuffled)

    first, second = plan(targets, stages), plan(shuffled, stages)

    assert first == second
    placed = [target for one in first.stages for target in one.targets]
    assert sorted(placed, key=lambda target: target.name) == sorted(targets, key=lambda target: target.name)
    assert [len(one.targets) for one in first.stages] == [
        after - before for before, after in pairwise((0, *cumulative_counts(len(targets), steps)))
    ]
    assert [(not one.pinned, one.tier) for one in placed] == sorted((not one.pinned, one.tier) for one in placed)


@given(targets_of_all_kinds, st.integers(0, 59))
def test_a_target_that_goes_moves_no_other_past_another(targets: list[FleetTarget], gone: int) -> None:
    left = [target for number, target in enumerate(targets) if number != gone % len(targets)]

    assert rollout_order(left, seed="x") == tuple(
        target for target in rollout_order(targets, seed="x") if target in left
    )


def test_small_ones_go_first_and_unknown_sizes_last() -> None:
    big, small, unknown = (
        FleetTarget(name=name, server="s", database=name, size=size)
        for name, size in (("a", 10**9), ("b", 10), ("c", None))
    )

    assert rollout_order([unknown, big, small], seed="") == (small, big, unknown)
    # What grows a little keeps its place among its like.
    assert rollout_order([replace(small, size=99), big], seed="")[0].name == "b"


def test_another_rollout_has_other_canaries_and_the_same_one_the_same() -> None:
    def canaries(**more: Any) -> set[str]:
        return {target.name for target in plan(fleet_of(200), **more).stages[0].targets}

    corrected = (VERSIONS[0], replace(VERSIONS[1], checksum="c" * 64))
    assert canaries() == canaries(versions=corrected)
    assert canaries() != canaries(versions=(*VERSIONS, PlannedVersion(version="0003", checksum="d" * 64)))
    assert canaries(seed="1") != canaries(seed="2")


def test_whoever_was_placed_stays_there_and_newcomers_come_last() -> None:
    begun = plan(fleet_of(100))
    later = plan([*fleet_of(150)[10:]], kept=begun.stage_of)

    assert {name: stage for name, stage in begun.stage_of.items() if name in later.stage_of} == {
        name: stage for name, stage in later.stage_of.items() if name in begun.stage_of
    }
    assert {later.stage_of[f"s/t{number}"] for number in range(100, 150)} == {"full"}
    assert later.digest != begun.digest
    assert later.remarks == (
        "50 targets came since the rollout began and are in 'full'",
        "10 targets have gone since the rollout began",
    )
    assert plan(fleet_of(100), kept=begun.stage_of).digest == begun.digest


changes: dict[str, Callable[[], RolloutPlan]] = {
    "a checksum": lambda: plan(fleet_of(9), versions=(VERSIONS[0], replace(VERSIONS[1], checksum="c" * 64))),
    "a target": lambda: plan(fleet_of(10)),
    "where a target is": lambda: plan([*fleet_of(8), replace(fleet_of(9)[8], server="elsewhere")]),
    "a stage": lambda: plan(fleet_of(9), (*GUIDE[:2], replace(GUIDE[2], approval_required=False))),
    "a duration": lambda: plan(fleet_of(9), (replace(GUIDE[0], duration=timedelta(minutes=31)), *GUIDE[1:])),
    "policy": lambda: plan(fleet_of(9), policy=("lock timeout 60 ms",)),
    "the seed": lambda: plan(fleet_of(9), seed="another"),
}


@pytest.mark.parametrize("what", changes)
def test_the_digest_is_another_one_with(what: str) -> None:
    assert changes[what]().digest != plan(fleet_of(9)).digest


def test_pinned_targets_that_do_not_fit_and_empty_stages_are_told() -> None:
    pinned = [replace(target, pinned=True) for target in fleet_of(3)]

    assert plan([*pinned, *fleet_of(20)[3:]]).remarks == (
        "2 pinned targets do not fit into stage 'canary' and come later",
    )
    assert plan(fleet_of(2)).remarks == ("no target is in: partial",)


def test_the_rows_of_the_only_database_are_staged() -> None:
    versions = (
        *VERSIONS,
        PlannedVersion(version="0003", checksum="c", batched=True),
        PlannedVersion(version="0004", checksum="d"),
        PlannedVersion(version="0005", checksum="e", batched=True),
    )
    only = plan(fleet_of(1), versions=versions)

    assert only.kind is RolloutKind.ROWS
    assert [one.work for one in only.stages] == [
        (RowShare(version="0001"), RowShare(version="0002"), RowShare(version="0003", from_pct=0, until_pct=5)),
        (RowShare(version="0003", from_pct=5, until_pct=25),),
        (RowShare(version="0003", from_pct=25), RowShare(version="0004"), RowShare(version="0005")),
    ]
    assert only.remarks[1] == "in batches, but all at once in the last stage: 0005"
    assert plan(fleet_of(1), versions=versions, kept=only.stage_of) == only


def test_the_only_database_waits_for_the_last_stage_where_nothing_runs_in_batches() -> None:
    only = plan(fleet_of(1))

    assert [one.work for one in only.stages] == [(), (), (RowShare(version="0001"), RowShare(version="0002"))]
    assert "its rehearsal is the canary" in only.remarks[0]


@pytest.mark.parametrize(
    ("targets", "more", "said"),
    [
        (0, {}, "has no target"),
        (2, {"versions": ()}, "no migration"),
        (2, {"stages": GUIDE[:2]}, "100 %"),
        (2, {"kept": {"s/t1": "early"}}, "stages that are no more: early"),
    ],
)
def test_what_cannot_be_planned_is_refused(targets: int, more: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        plan(fleet_of(targets), **more)
    with pytest.raises(InvalidInputError, match="named twice: s/t0"):
        plan([*fleet_of(1), *fleet_of(2)])
