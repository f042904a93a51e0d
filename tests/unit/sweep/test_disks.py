"""How full disks are: in per cent where their size is told, and never better known than it is."""

from __future__ import annotations

import pytest

from squizzle.rollout.disk import FreeSpace
from squizzle.rollout.records import FleetTarget
from squizzle.settings.health import HealthLimits
from squizzle.sweep.disks import with_disks
from squizzle.sweep.own_rules import own_results
from squizzle.sweep.records import TargetHealth

GB = 10**9


def of(number: int) -> TargetHealth:
    target = FleetTarget(name=f"one/{number}", server="one", database=str(number), schema="public")
    return TargetHealth(target=target, is_reached=True, metrics={"size_bytes": 45 * GB})


@pytest.mark.parametrize(
    ("free", "total", "firing"),
    [
        (11, 100, []),
        (9, 100, ["disk nearly full"]),
        (4, 100, ["disk nearly full", "disk full"]),
        # Nobody says how big it is: what is free, and the two databases of 45 GB.
        (9, None, ["disk nearly full"]),
        (11, None, []),
    ],
)
def test_a_disk_is_nearly_full_by_its_share(free: int, total: int | None, firing: list[str]) -> None:
    space = FreeSpace(free_bytes=free * GB, told_by="test", total_bytes=total * GB if total else None)
    for health in with_disks([of(1), of(2)], {"one": space}):
        results = [one for one in own_results(health.metrics, (), HealthLimits()) if one.rule.name.startswith("disk")]
        assert [one.rule.name for one in results if one.is_true] == firing
        assert len(results) == 2


def test_who_should_know_and_does_not_is_told_as_such_and_nothing_is_said_where_nobody_can() -> None:
    unknown = FreeSpace(free_bytes=None, told_by="the question failed")
    (asked,) = with_disks([of(1)], {"one": unknown})
    assert {(one.rule.name, one.is_true, one.why) for one in asked.results} == {
        ("disk nearly full", None, "the question failed"),
        ("disk full", None, "the question failed"),
    }
    (silent,) = with_disks([of(1)], {})
    assert silent == of(1)
