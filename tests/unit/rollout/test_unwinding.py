"""When a target that could not be taken back is recovered at once, and when a person is asked."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from squizzle.backups.records import Backup
from squizzle.proof.records import Comparison, SchemaMatch
from squizzle.recovery.assess import Assessment
from squizzle.recovery.evidence import Evidence
from squizzle.recovery.ways import RecoveryPlan, Way, WayBack
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
    way_of,
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
    assert alone.keys() == {Way.ROLL_BACK}
    shared = ruled_out_ways(ONE, [ONE, replace(ONE, name="two", schema="tenant_2")], by_script="it failed")
    assert shared.keys() == set(Way)
    assert shared[Way.RESTORE_BESIDE] == "two is in the same database, and would be taken back with it"


@pytest.mark.parametrize(
    ("schema", "way"), [(SchemaMatch.EXACT, Way.UNDO), (SchemaMatch.DIFFERENT, Way.RESTORE_BESIDE)]
)
def test_the_change_log_is_no_way_where_a_version_left_another_schema(schema: SchemaMatch, way: Way) -> None:
    undo = replace(RESTORE, way=Way.UNDO, rpo=timedelta())
    plan = RecoveryPlan(ways=(undo, RESTORE), chosen=undo, is_needed=True)
    comparison = Comparison(schema=schema, missing=(), changed=(), unexpected=(), tables=(), sequences=())
    assessment = Assessment(
        since="b", since_version=None, current="1", applied_since=("1",), failed=(), comparison=comparison
    )
    found, _ = way_of(Evidence(plan=plan, assessment=assessment))
    assert found is not None
    assert found.way is way
    assert way_of(Evidence(error="the backup is gone")) == (None, "the backup is gone")


def test_where_the_certificate_proves_another_way_than_the_down_script_that_one_is_taken(backup: Backup) -> None:
    lossy = replace(certificate_of(backup), id="c1")
    exact = replace(lossy, rollback=RollbackProof(script="down script", sha256="", schema=SchemaMatch.EXACT))
    assert "proves restore beside as the way back" in unproven_scripts({"1": lossy})["1"]
    assert not unproven_scripts({"1": exact, "2": replace(lossy, ways=lossy.ways[:1])})
    assert proof_of(RESTORE, ["1"], {"1": lossy}) == "certificate c1"
    assert not proof_of(RESTORE, ["1", "2"], {"1": lossy})
    assert proof_of(replace(RESTORE, proven_at=NOW), ["2"], {}) == "carried out and compared at 2026-11-27 00:00 UTC"
