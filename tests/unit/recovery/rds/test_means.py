"""What RDS keeps, as ways back: snapshots with a manifest, and the whole second before the damage."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from squizzle.backups.proofs import Proof, ProofKind, Verdict
from squizzle.backups.rds.service import Waiting
from squizzle.backups.records import Backup, BackupKind
from squizzle.recovery.rds.means import find_cloud
from squizzle.recovery.rds.standing_in import instance_names
from squizzle.recovery.ways import BackupMeans
from tests.support.rds_instances import InstancesFake
from tests.support.rds_service import START, Fault


def test_snapshots_and_the_second_before_the_damage_are_ways_back(
    fake: InstancesFake, client: Any, waiting: Waiting, backup: Backup
) -> None:
    fake.put("shop")
    struck = START + timedelta(hours=1, milliseconds=300)
    made = replace(backup, id="b1", kind=BackupKind.RDS, started_at=START)
    gone = Proof(
        backup_id="b2",
        kind=ProofKind.FILES,
        verdict=Verdict.FAIL,
        at=START,
        duration=timedelta(),
        by="test",
        sentences=("the snapshot is gone",),
        details={},
    )
    backups = [
        BackupMeans(id="full", backup=backup),
        BackupMeans(id="b1", backup=made),
        BackupMeans(id="b2", backup=replace(made, id="b2"), verified=gone),
    ]

    def found(**changes: Any) -> dict[str, Any]:
        asked = {"struck": struck, "waiting": waiting} | changes
        return {one.name: one for one in find_cloud(client, "shop", backups, **asked)}

    ways = found()
    moment = "shop to 2026-03-01 04:00:00 UTC"
    assert list(ways) == ["snapshot b1", "snapshot b2", moment]
    assert (ways["snapshot b1"].at, ways["snapshot b1"].problem) == (START, "")
    assert "the snapshot is gone" in ways["snapshot b2"].problem
    assert (ways[moment].at, ways[moment].resource_id) == (START + timedelta(hours=1), "db-1")
    # What is done at a full second is not in the second before.
    assert list(found(struck=START + timedelta(hours=1)))[-1] == "shop to 2026-03-01 03:59:59 UTC"
    assert list(found(struck=None)) == ["snapshot b1", "snapshot b2"]
    fake.documents["shop"]["BackupRetentionPeriod"] = 0
    assert found()[moment].problem == "the instance keeps no automated backups"
    del fake.documents["shop"]
    assert found()[moment].problem == "there is no instance shop"
    fake.faults["DescribeDBInstances"] = [Fault("AccessDenied", 403)]
    assert "describe the instance shop" in found()[moment].problem


@pytest.mark.parametrize("name", ["shop", "s" * 63, f"{'s' * 43}-{'s' * 19}"])
def test_names_of_instances_fit_and_are_the_same_in_every_run(name: str) -> None:
    new, old = instance_names(name, START)
    assert (new, old) == instance_names(name, START)
    assert (new[-15:], old[-15:]) == ("-20260301030000", "-20260301030000")
    assert all(len(one) <= 63 and "--" not in one for one in (new, old))
