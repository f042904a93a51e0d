"""`squizzle backup rds` and what looks after its snapshots, against an RDS that others wrote (moto)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from boto3 import client as open_client

from squizzle.postgres.access import Connection
from squizzle.recovery.rds.restore import restore_snapshot, restore_to_time
from squizzle.recovery.rds.settings import read_document
from tests.integration.cli.conftest import Squizzle
from tests.support.moto_server import moto_server

KEYS = {"AWS_DEFAULT_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s3cret"}
EMBEDDED = pytest.mark.parametrize("address", ["embedded"], indirect=True)


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    with moto_server() as address:
        yield address


@pytest.fixture
def rds(aws: str, connection: Connection) -> Iterator[Any]:
    """The client, with an instance `shop` of the server's version."""
    rds = client_of("rds", aws)
    version = connection.info.server_version
    rds.create_db_instance(
        DBInstanceIdentifier="shop",
        Engine="postgres",
        EngineVersion=f"{version // 10000}.{version % 10000}",
        DBInstanceClass="db.t3.micro",
        AllocatedStorage=20,
        MasterUsername="u",
        MasterUserPassword="hunter22222",
    )
    yield rds
    rds.delete_db_instance(DBInstanceIdentifier="shop", SkipFinalSnapshot=True)


def client_of(service: str, address: str) -> Any:
    return open_client(
        service,  # type: ignore[call-overload]
        endpoint_url=address,
        region_name="eu-central-1",
        aws_access_key_id="k",
        aws_secret_access_key="s3cret",
    )


@EMBEDDED
def test_a_snapshot_is_taken_verified_and_removed(squizzle: Squizzle, tmp_path: Path, aws: str, rds: Any) -> None:
    store = (tmp_path / "store").as_uri()
    around = {"AWS_ENDPOINT_URL": aws, **KEYS}
    first = squizzle("backup", "rds", "--instance", "Shop", "--store", store, "--json", **around)
    assert first.code == 0, first.err
    snapshots = {one["DBSnapshotIdentifier"]: one for one in rds.describe_db_snapshots()["DBSnapshots"]}
    made = snapshots[first.document["details"]["snapshot"]]
    assert first.document["details"]["arn"] == made["DBSnapshotArn"]
    assert first.document["details"]["changed_tables"] == "[]"  # autovacuum may write, but not rows
    assert {"squizzle:id", "squizzle:run"} <= {one["Key"] for one in made["TagList"]}
    second = squizzle("backup", "rds", "--instance", "shop", "--store", store, **around)
    assert second.code == 0, second.err
    assert "of shop, " in second.out
    third = squizzle("backup", "rds", "--instance", "shop", "--store", store, "--json", **around)
    assert "hunter2" not in "".join(path.read_text() for path in (tmp_path / "store").rglob("*.json"))

    listed = squizzle("backups", "--store", store, "--verify", **around)
    assert listed.code == 0, listed.err
    assert "21.5 GB" in listed.out
    rds.remove_tags_from_resource(ResourceName=made["DBSnapshotArn"], TagKeys=["squizzle:id"])
    pruned = squizzle(
        *("backups", "prune", "--yes", "--keep-daily", "1", "--keep-weekly", "0", "--keep-monthly", "0"),
        *("--store", store, "--json"),
        **around,
    )
    assert pruned.code == 1
    assert "has no tag squizzle:id, so Squizzle did not make it" in pruned.document["refused"][first.document["id"]]
    left = {one["DBSnapshotIdentifier"]: one["SnapshotType"] for one in rds.describe_db_snapshots()["DBSnapshots"]}
    assert {name for name, kind in left.items() if kind == "manual"} == {
        made["DBSnapshotIdentifier"],
        third.document["details"]["snapshot"],
    }
    assert "automated" in left.values()

    rds.delete_db_snapshot(DBSnapshotIdentifier=third.document["details"]["snapshot"])
    looked = squizzle("verify-backup", third.document["id"], "--store", store, "--json", **around)
    assert looked.code == 7
    assert "is gone from RDS" in looked.document["verified"]["sentences"][0]
    alone = squizzle("verify-backup", first.document["id"], "--store", store, "--json", **KEYS, AWS_ENDPOINT_URL="x:y")
    assert alone.code == 10


@EMBEDDED
@pytest.mark.usefixtures("rds")
def test_a_restore_to_an_instance_without_room_is_refused_with_the_figures(
    squizzle: Squizzle, tmp_path: Path, aws: str, url: str
) -> None:
    around = {"AWS_ENDPOINT_URL": aws, **KEYS}
    store = (tmp_path / "store").as_uri()
    backup = squizzle("backup", "full", "--store", store, "--json").document["id"]
    squizzle.configure(f'[environments.scratch]\nurl = "{url}"\nrds_instance = "shop"\nrds_region = "eu-central-1"\n')
    command = ("verify-backup", backup, "--restore", "--env", "scratch", "--store", store, "--json")
    client_of("cloudwatch", aws).put_metric_data(
        Namespace="AWS/RDS",
        MetricData=[
            {
                "MetricName": "FreeStorageSpace",
                "Dimensions": [{"Name": "DBInstanceIdentifier", "Value": "shop"}],
                "Value": 1_000_000.0,
                "Timestamp": datetime.now(UTC) - timedelta(minutes=2),
            }
        ],
    )

    refused = squizzle(*command, **around)

    assert refused.code == 2
    assert "with a fifth more" in refused.error["message"]
    assert "but 1.0 MB are free on shop (CloudWatch" in refused.error["message"]


@EMBEDDED
def test_what_is_no_instance_is_refused_with_the_next_step(squizzle: Squizzle, tmp_path: Path) -> None:
    command = ("backup", "rds", "--store", (tmp_path / "store").as_uri(), "--json")
    assert "the host" in squizzle(*command, **KEYS).error["message"]


def test_what_this_rds_restores_has_every_setting_of_the_old_one(aws: str) -> None:
    """No verb uses it yet; here, because this RDS reads the requests as others understand them."""
    rds = client_of("rds", aws)
    rds.create_db_parameter_group(
        DBParameterGroupName="crm-pg16", DBParameterGroupFamily="postgres16", Description="not the default"
    )
    source = rds.create_db_instance(
        DBInstanceIdentifier="crm",
        Engine="postgres",
        DBInstanceClass="db.r6g.large",
        AllocatedStorage=20,
        MaxAllocatedStorage=100,
        MasterUsername="u",
        MasterUserPassword="hunter22222",
        DBParameterGroupName="crm-pg16",
        Port=6432,
        MultiAZ=True,
        DeletionProtection=True,
        CopyTagsToSnapshot=True,
        EnableIAMDatabaseAuthentication=True,
        EnableCloudwatchLogsExports=["postgresql"],
        BackupRetentionPeriod=14,
        MonitoringInterval=60,
        MonitoringRoleArn="arn:aws:iam::1:role/monitoring",
        Tags=[{"Key": "team", "Value": "sales"}],
    )["DBInstance"]
    snapshot = rds.create_db_snapshot(DBInstanceIdentifier="crm", DBSnapshotIdentifier="by-hand")["DBSnapshot"]
    like = read_document(json.dumps(source, default=str), source="test")

    beside = restore_snapshot(rds, snapshot["DBSnapshotArn"], into="crm-new", like=like)
    earlier = restore_to_time(
        rds, "crm", resource_id=source["DbiResourceId"], at=source["LatestRestorableTime"], into="crm-earlier"
    )

    assert (beside.differences, earlier.differences, beside.port) == ((), (), 6432)
