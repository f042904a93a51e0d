"""A restored instance is set to what the old one was set to, or it is said where it is not; nothing is ever deleted."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from squizzle.backups.rds.service import Waiting
from squizzle.errors import BackupDamagedError, CloudError, CloudUnavailableError, InvalidInputError, RefusedError
from squizzle.recovery.rds.restore import RestoredInstance, restore_snapshot, restore_to_time
from squizzle.recovery.rds.settings import SETTINGS, differences, modify_arguments, read_document, restore_arguments
from tests.support.rds_instances import DEFAULTS, InstancesFake
from tests.support.rds_service import DROP, START, Fault

ARN = "arn:aws:rds:eu-central-1:1:snapshot:s1"
# Every setting is another one than a new instance comes up with.
PRODUCTION: dict[str, Any] = {
    "DBInstanceClass": "db.r6g.xlarge",
    "Port": 6432,
    "AllocatedStorage": 500,
    "MaxAllocatedStorage": 2000,
    "StorageType": "gp3",
    "Iops": 15000,
    "StorageThroughput": 600,
    "DedicatedLogVolume": True,
    "MultiAZ": True,
    "PubliclyAccessible": False,
    "AutoMinorVersionUpgrade": False,
    "CopyTagsToSnapshot": True,
    "DeletionProtection": True,
    "IAMDatabaseAuthenticationEnabled": True,
    "EnabledCloudwatchLogsExports": ["postgresql", "upgrade"],
    "ProcessorFeatures": [{"Name": "coreCount", "Value": "2"}],
    "BackupRetentionPeriod": 14,
    "PreferredBackupWindow": "01:00-01:30",
    "PreferredMaintenanceWindow": "mon:02:00-mon:02:30",
    "MonitoringInterval": 60,
    "MonitoringRoleArn": "arn:aws:iam::1:role/monitoring",
    "PerformanceInsightsEnabled": True,
    "PerformanceInsightsKMSKeyId": "arn:key",
    "PerformanceInsightsRetentionPeriod": 31,
    "NetworkType": "DUAL",
    "CACertificateIdentifier": "rds-ca-ecc384-g1",
    "EngineLifecycleSupport": "open-source-rds-extended-support-disabled",
    "VpcSecurityGroups": [{"VpcSecurityGroupId": "sg-2"}, {"VpcSecurityGroupId": "sg-1"}],
    "DBParameterGroups": [{"DBParameterGroupName": "shop-pg16", "ParameterApplyStatus": "in-sync"}],
    "OptionGroupMemberships": [{"OptionGroupName": "shop-options"}],
    "DBSubnetGroup": {"DBSubnetGroupName": "shop-subnets"},
    "TagList": [{"Key": "team", "Value": "shop"}, {"Key": "aws:cloudformation:stack-name", "Value": "x"}],
}


Restore = Callable[..., RestoredInstance]


@pytest.fixture
def source(fake: InstancesFake) -> dict[str, Any]:
    return fake.put("shop", **PRODUCTION)


@pytest.fixture
def like(client: Any, source: dict[str, Any]) -> dict[str, Any]:
    """What RDS says about the source, as a backup holds it."""
    answer = client.describe_db_instances(DBInstanceIdentifier=source["DBInstanceIdentifier"])
    return dict(read_document(json.dumps(answer["DBInstances"][0], default=str), source="test"))


@pytest.fixture(params=["snapshot", "time"])
def restore(request: pytest.FixtureRequest, client: Any, waiting: Waiting, like: dict[str, Any]) -> Restore:
    """Both ways, which must come to the same."""

    def from_snapshot(**changes: Any) -> RestoredInstance:
        return restore_snapshot(client, ARN, into="shop-new", like=like, waiting=replace(waiting, **changes))

    def to_time(**changes: Any) -> RestoredInstance:
        return restore_to_time(
            client,
            "shop",
            resource_id="db-1",
            at=START - timedelta(hours=1),
            into="shop-new",
            waiting=replace(waiting, **changes),
        )

    return from_snapshot if request.param == "snapshot" else to_time


def test_every_setting_is_another_one_than_the_default_and_comes_along(
    fake: InstancesFake, restore: Restore, like: dict[str, Any]
) -> None:
    fixed = {"KmsKeyId", "Engine", "EngineVersion", "MasterUsername"}
    plain = {**DEFAULTS, "Port": 5432, "Endpoint": {"Port": 5432}}
    assert {one.name for one in SETTINGS if one.read(plain) == one.read(like)} == fixed
    before = json.dumps(fake.documents["shop"], default=str)

    done = restore()

    assert done.differences == ()
    made = fake.documents["shop-new"]
    assert {name for name, value in PRODUCTION.items() if as_set(made.get(name)) != as_set(value)} == {"TagList"}
    assert (done.identifier, done.resource_id, done.port, done.is_adopted) == ("shop-new", "db-2", 6432, False)
    assert done.endpoint == "shop-new.c0ffee.rds.amazonaws.com"
    assert done.duration >= timedelta(seconds=200)
    tags = {one["Key"] for one in made["TagList"]}
    assert tags == {"team", "squizzle:restored-from"}
    assert json.dumps(fake.documents["shop"], default=str) == before
    assert not [name for name, _ in fake.requests if name.startswith("Delete")]


def as_set(value: Any) -> Any:
    """The order of a list says nothing, nor do states in it."""
    if not isinstance(value, list):
        return value
    return {
        str(sorted(one.items() - {("ParameterApplyStatus", "in-sync")}) if isinstance(one, dict) else one)
        for one in value
    }


def test_what_rds_does_not_take_over_is_said(fake: InstancesFake, restore: Restore) -> None:
    fake.ignores = frozenset({"MonitoringInterval", "DeletionProtection", "EnableCloudwatchLogsExports"})

    done = restore()

    assert done.differences == (
        "DeletionProtection: false, expected true",
        'EnabledCloudwatchLogsExports: none, expected ["postgresql", "upgrade"]',
        "MonitoringInterval: 0, expected 60",
    )


def test_a_parameter_group_that_waits_for_a_reboot_gets_it(fake: InstancesFake, restore: Restore) -> None:
    fake.later(99, lambda: fake.documents["shop-new"].update(DBParameterGroups=DEFAULTS["DBParameterGroups"]))

    assert restore().differences == ()
    assert fake.count("RebootDBInstance") == 1
    assert fake.documents["shop-new"]["DBParameterGroups"][0]["ParameterApplyStatus"] == "in-sync"


@pytest.mark.parametrize("fault", [DROP, Fault("InternalFailure", 500), Fault("Throttling")], ids=str)
def test_a_lost_reply_makes_no_second_instance(fake: InstancesFake, restore: Restore, fault: Fault | str) -> None:
    for action in ("RestoreDBInstanceFromDBSnapshot", "RestoreDBInstanceToPointInTime", "ModifyDBInstance"):
        fake.faults[action] = [fault]

    assert restore().differences == ()
    assert set(fake.documents) == {"shop", "shop-new"}


def test_nothing_is_pending_any_more_and_a_busy_instance_is_asked_again(fake: InstancesFake, restore: Restore) -> None:
    fake.pending_s = 100.0
    fake.faults["ModifyDBInstance"] = [Fault("InvalidDBInstanceState")]

    assert restore().differences == ()
    assert fake.documents["shop-new"]["PendingModifiedValues"] == {}


@pytest.mark.parametrize("seconds", [30, 110, 150])
def test_a_killed_restore_is_gone_on_with(fake: InstancesFake, restore: Restore, seconds: int) -> None:
    with pytest.raises(CloudUnavailableError, match="the new instance shop-new stays") as caught:
        restore(deadline=timedelta(seconds=seconds))
    assert "run the same again" in caught.value.hint

    done = restore()

    assert (done.is_adopted, done.differences) == (True, ())
    assert set(fake.documents) == {"shop", "shop-new"}


def test_an_instance_of_the_name_that_is_another_one_is_left(fake: InstancesFake, restore: Restore) -> None:
    fake.put("shop-new")
    before = dict(fake.documents["shop-new"])

    with pytest.raises(RefusedError, match="was not restored from what was asked for"):
        restore()

    assert fake.documents["shop-new"] == before
    assert fake.count("ModifyDBInstance") == 0


def test_a_failed_restore_is_told_with_what_is_left(fake: InstancesFake, restore: Restore) -> None:
    fake.restore_fails = True

    with pytest.raises(CloudError, match="shop-new is incompatible-restore; the new instance shop-new stays"):
        restore()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("DBSubnetGroupNotFoundFault", "the subnet group is gone"),
        ("InstanceQuotaExceeded", "as many instances as it may"),
        ("InvalidParameterCombination", "do not go together"),
    ],
)
def test_a_refusal_of_rds_is_told_in_words(fake: InstancesFake, restore: Restore, code: str, said: str) -> None:
    for action in ("RestoreDBInstanceFromDBSnapshot", "RestoreDBInstanceToPointInTime"):
        fake.faults[action] = [Fault(code)]
    with pytest.raises(CloudError, match=said):
        restore()


def to_time(client: Any, waiting: Waiting, **changes: Any) -> RestoredInstance:
    arguments = {"resource_id": "db-1", "at": START - timedelta(hours=1), "into": "shop-new", **changes}
    return restore_to_time(client, "shop", waiting=waiting, **arguments)


def test_a_moment_that_the_backups_do_not_reach_yet_is_waited_for(
    fake: InstancesFake, client: Any, waiting: Waiting, source: dict[str, Any]
) -> None:
    done = to_time(client, waiting, at=START - timedelta(minutes=2))

    # They lag five minutes behind.
    asked_at = next(number for number, (name, _) in enumerate(fake.requests) if name.startswith("Restore"))
    assert asked_at > 10
    assert done.differences == ()
    assert source["DBInstanceStatus"] == "available"


@pytest.mark.parametrize(
    ("facts", "arguments", "error", "said"),
    [
        ({}, {"at": START + timedelta(minutes=1)}, InvalidInputError, "lies in the future"),
        ({}, {"at": START - timedelta(days=31)}, InvalidInputError, "was made only at"),
        ({"BackupRetentionPeriod": 0}, {}, InvalidInputError, "keeps no automated backups"),
        ({}, {"resource_id": "db-9"}, RefusedError, "is not the instance db-9 that was meant, but db-1"),
    ],
)
def test_a_moment_that_cannot_be_had_is_refused_before_anything_is_asked(
    fake: InstancesFake,
    client: Any,
    waiting: Waiting,
    facts: dict[str, Any],
    arguments: dict[str, Any],
    error: type[Exception],
    said: str,
) -> None:
    fake.put("shop", **{**PRODUCTION, **facts})

    with pytest.raises(error, match=said):
        to_time(client, waiting, **arguments)

    assert set(fake.documents) == {"shop"}


def test_numbers_of_storage_are_passed_only_where_they_may_be() -> None:
    def passed(**facts: Any) -> set[str]:
        document = {"DBInstanceIdentifier": "x", "Iops": 3000, "StorageThroughput": 125, **facts}
        return {"Iops", "StorageThroughput"} & set(restore_arguments(document, in_time=False, tags={}))

    assert passed(StorageType="gp3", AllocatedStorage=399) == set()
    assert passed(StorageType="gp3", AllocatedStorage=400) == {"Iops", "StorageThroughput"}
    assert passed(StorageType="io2", AllocatedStorage=100) == {"Iops"}
    assert passed(StorageType="gp2", AllocatedStorage=5000) == set()


def test_what_is_unset_is_neither_passed_nor_changed() -> None:
    plain = {"DBInstanceIdentifier": "x"}
    assert restore_arguments(plain, in_time=True, tags={}) == {"Tags": []}
    assert modify_arguments(plain, {**plain, **PRODUCTION}) == {}
    assert "MultiAZ: true, expected none" in differences(plain, {**plain, **PRODUCTION})
    made_by_rds = {**plain, "OptionGroupMemberships": [{"OptionGroupName": "default:postgres-16"}]}
    assert restore_arguments(made_by_rds, in_time=False, tags={}) == {"Tags": []}
    with pytest.raises(BackupDamagedError, match="does not say what the instance was set to"):
        read_document("[]", source="instance.json")
