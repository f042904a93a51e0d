"""When a target that could not be taken back is recovered at once, and when a person is asked."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from squizzle.backups.records import Backup
from squizzle.proof.records import SchemaMatch
from squizzle.recovery.ways import Way, WayBack
from squizzle.rehearsal.records import RollbackProof
from squizzle.rollout.orders import ApplyVerdict, TargetResult
from squizzle.rollout.records import FleetTarget
from squizzle.rollout.unwinding import (
    Prospect,
    Recovers,
    proof_of,
    ruled_out_ways,
    split_prospects,
    unproven_scripts,
)
from tests.support.certificates import certificate_of

NOW = datetime(2026, 11, 27, tzinfo=UTC)
ONE = FleetTarget(name="one", server="s", database="d", schema="tenant_1")
RESTORE = WayBack(way=Way.RESTORE_BESIDE, name="b", possible=True, why="", rpo=timedelta(minutes=5))


@pytest.mark.parametrize(
    ("changes", "policy", "split"),
    [
        ({"way": replace(RESTORE, rpo=timedelta()), "clients": 3}, Recovers.SAFE, [1, 0]),
        ({"way": RESTORE, "proven_by": "certificate c"}, Recovers.SAFE, [1, 0]),
        ({"way": RESTORE}, Recovers.SAFE, [0, 1]),
        ({"way": RESTORE, "proven_by": "certificate c", "clients": 1}, Recovers.SAFE, [0, 1]),
        ({"way": RESTORE, "proven_by": "certificate c", "rows": 1}, Recovers.SAFE, [0, 1]),
        ({"way": replace(RESTORE, rpo=timedelta())}, Recovers.ASK, [0, 1]),
    ],
)
def test_only_what_loses_nothing_or_is_proven_with_nobody_else_at_work_is_done_at_once(
    changes: dict[str, Any], policy: Recovers, split: list[int]
) -> None:
    prospect = Prospect(target=ONE, result=TargetResult(target=ONE, verdict=ApplyVerdict.NOT_TAKEN_BACK), **changes)
    assert [len(part) for part in split_prospects([prospect], policy)] == split


def test_a_database_with_other_targets_is_not_exchanged_for_one_of_them() -> None:
    alone = ruled_out_ways(ONE, [ONE, replace(ONE, name="two", database="e")], by_script="it failed")
    assert alone.keys() == {Way.ROLL_BACK, Way.UNDO}
    shared = ruled_out_ways(ONE, [ONE, replace(ONE, name="two", schema="tenant_2")], by_script="it failed")
    assert shared.keys() == set(Way)
    assert shared[Way.RESTORE_BESIDE] == "two is in the same database, and would be taken back with it"


def test_where_the_certificate_proves_another_way_than_the_down_script_that_one_is_taken(backup: Backup) -> None:
    lossy = replace(certificate_of(backup), id="c1")
    exact = replace(lossy, rollback=RollbackProof(script="down script", sha256="", schema=SchemaMatch.EXACT))
    assert "proves restore beside as the way back" in unproven_scripts({"1": lossy})["1"]
    assert not unproven_scripts({"1": exact, "2": replace(lossy, ways=lossy.ways[:1])})
    assert proof_of(RESTORE, ["1"], {"1": lossy}) == "certificate c1"
    assert not proof_of(RESTORE, ["1", "2"], {"1": lossy})
    assert proof_of(replace(RESTORE, proven_at=NOW), ["2"], {}) == "carried out and compared at 2026-11-27 00:00 UTC"
