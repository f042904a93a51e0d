"""A snapshot is taken once, found again by a retry, and watched until it is there, whatever RDS does meanwhile."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squizzle.backups.rds.access import RdsAccess
from squizzle.backups.rds.client import open_rds
from squizzle.backups.rds.naming import snapshot_identifier, snapshot_tags
from squizzle.backups.rds.records import RdsSnapshot, SnapshotProgress, SnapshotPurpose
from squizzle.backups.rds.service import Waiting
from squizzle.backups.rds.take import take_rds_snapshot
from squizzle.errors import CloudError, CloudUnavailableError, InvalidInputError, RefusedError
from tests.support.rds_service import DROP, Fault, Instance, RdsFake, Snapshot

PURPOSE = SnapshotPurpose(run_id="run-1", migration_version="0042", rollout_id="r7")
NAME = snapshot_identifier("shop", "db-SHOP", PURPOSE)


Take = Callable[..., RdsSnapshot]


@pytest.fixture
def take(fake: RdsFake, client: Any) -> Take:
    def call(purpose: SnapshotPurpose = PURPOSE, **arguments: Any) -> RdsSnapshot:
        waiting = Waiting(
            monotonic=fake.clock.monotonic,
            now=fake.clock.now,
            sleep=fake.clock.sleep,
            jitter=lambda: 0.5,
            **{key: arguments.pop(key) for key in ("deadline", "outage") if key in arguments},
        )
        return take_rds_snapshot(client, "shop", purpose=purpose, waiting=waiting, **arguments)

    return call


def test_a_snapshot_is_watched_until_it_is_there_and_described(fake: RdsFake, take: Take) -> None:
    seen: list[SnapshotProgress] = []

    done = take(on_progress=seen.append)

    assert [one.percent for one in seen] == [0, 15, 30, 45, 60, 75, 90, 100]
    assert (done.identifier, done.resource_id, done.engine_version) == (NAME, "db-SHOP", "16.4")
    assert (done.is_adopted, done.is_encrypted, done.kms_key_id) == (False, True, "arn:key")
    assert (done.size_bytes, done.duration) == (20 * 1024**3, timedelta(seconds=105))
    assert done.latest_restorable_at is not None
    assert done.latest_restorable_at.isoformat() == "2026-03-01T02:55:00+00:00"
    assert done.tags == fake.snapshots[NAME].tags
    assert done.tags["squizzle:migration-version"] == "0042"
    assert json.loads(done.settings)["DBParameterGroups"][0]["DBParameterGroupName"] == "shop-pg16"
    assert "hunter2" not in repr(done)
    assert done.details()["arn"] == done.arn


def test_a_retry_takes_over_its_own_snapshot_and_another_run_makes_another(fake: RdsFake, take: Take) -> None:
    first = take()
    again = take()
    other = take(SnapshotPurpose(run_id="run-2", migration_version="0042", rollout_id="r7"))

    assert (again.identifier, again.is_adopted) == (first.identifier, True)
    assert other.identifier != first.identifier
    assert fake.count("CreateDBSnapshot") == 2


def test_a_retry_joins_a_snapshot_that_is_still_being_made(fake: RdsFake, take: Take) -> None:
    with pytest.raises(CloudUnavailableError, match=f"snapshot {NAME} goes on") as caught:
        take(deadline=timedelta(seconds=40))
    assert caught.value.retryable
    assert "run the same again" in caught.value.hint

    assert take().is_adopted
    assert fake.count("CreateDBSnapshot") == 1


@pytest.mark.parametrize("lost", [DROP, Fault("InternalFailure", 500), Fault("ServiceUnavailable", 503)], ids=str)
def test_a_lost_reply_neither_fails_nor_makes_a_second_snapshot(fake: RdsFake, take: Take, lost: Fault | str) -> None:
    fake.faults["CreateDBSnapshot"] = [lost]
    fake.hidden_looks = 2

    assert take().identifier == NAME
    assert list(fake.snapshots) == [NAME]


@pytest.mark.parametrize("busy", [Fault("Throttling"), Fault("RequestLimitExceeded", 503), DROP], ids=str)
def test_looks_go_on_through_a_busy_service_and_pauses_grow(fake: RdsFake, take: Take, busy: Fault | str) -> None:
    fake.faults["DescribeDBSnapshots"] = [None, None, busy, busy, busy]

    assert take().identifier == NAME
    # Looks at 0, 15 (busy until 15 + 1 + 2 + 4), 22, 37 ... 97, 112; the snapshot takes 100.
    assert fake.clock.seconds == 112


def test_a_service_that_stays_away_ends_the_wait_and_says_what_goes_on(fake: RdsFake, take: Take) -> None:
    fake.faults["DescribeDBSnapshots"] = [None, *[Fault("Throttling")] * 100]

    with pytest.raises(CloudUnavailableError, match=r"stayed busy \(Throttling\); the snapshot .* goes on"):
        take(outage=timedelta(minutes=2))

    assert 120 <= fake.clock.seconds < 160


def test_expired_credentials_are_not_tried_again(fake: RdsFake, take: Take) -> None:
    fake.faults["DescribeDBSnapshots"] = [None, None, Fault("ExpiredToken", 403)]

    with pytest.raises(CloudError, match=r"credentials expired; the snapshot .* goes on") as caught:
        take()

    assert not caught.value.retryable
    assert "aws sso login" in caught.value.hint
    assert take().is_adopted


@pytest.mark.parametrize(
    "found",
    [
        Snapshot(identifier=NAME, instance="shop", resource_id="db-SHOP", tags={}),
        Snapshot(identifier=NAME, instance="shop", resource_id="db-SHOP", tags={"squizzle:id": "other"}),
        Snapshot(identifier=NAME, instance="shop", resource_id="db-X", tags=dict(snapshot_tags("db-SHOP", PURPOSE))),
    ],
    ids=["no tags", "another purpose", "another instance"],
)
def test_a_foreign_snapshot_of_the_name_is_refused_and_left(fake: RdsFake, take: Take, found: Snapshot) -> None:
    fake.snapshots[NAME] = found

    with pytest.raises(RefusedError, match="not of this run"):
        take()

    assert fake.snapshots == {NAME: found}
    assert fake.count("DeleteDBSnapshot") == 0


def test_an_instance_of_the_same_name_has_snapshots_of_its_own(fake: RdsFake, take: Take) -> None:
    first = take()
    fake.instances["shop"] = Instance(identifier="shop", resource_id="db-RESTORED")

    assert take().identifier != first.identifier


def test_a_failed_snapshot_is_told_and_the_next_try_makes_it_anew(fake: RdsFake, take: Take) -> None:
    fake.next_fails = True

    with pytest.raises(CloudError, match=r"is failed at 60 % \(the instance shop is backing-up\)"):
        take()

    assert not take().is_adopted
    assert (fake.count("DeleteDBSnapshot"), fake.count("CreateDBSnapshot")) == (1, 2)


def test_a_snapshot_or_an_instance_that_is_deleted_meanwhile_is_no_success(fake: RdsFake, take: Take) -> None:
    def delete() -> None:
        fake.snapshots.clear()
        fake.instances.clear()

    fake.clock.at[40] = delete

    with pytest.raises(CloudError, match=r"was deleted while it was being made \(.*there is no such instance"):
        take()


def test_an_instance_that_is_busy_is_waited_for(fake: RdsFake, take: Take) -> None:
    fake.instances["shop"].status, fake.instances["shop"].ready_at = "modifying", 100.0
    # It looks available, but the request comes too late.
    fake.faults["CreateDBSnapshot"] = [Fault("InvalidDBInstanceState")]

    assert take().identifier == NAME
    assert fake.count("CreateDBSnapshot") == 2


def test_an_instance_that_takes_over_the_name_meanwhile_is_not_saved(fake: RdsFake, take: Take) -> None:
    fake.instances["shop"].status, fake.instances["shop"].ready_at = "modifying", 100.0
    fake.clock.at[50] = lambda: fake.instances.update(shop=Instance(identifier="shop", resource_id="db-OTHER"))

    with pytest.raises(RefusedError, match=r"went to another instance meanwhile \(db-SHOP became db-OTHER\)"):
        take()

    assert fake.count("CreateDBSnapshot") == 0


def test_an_instance_that_stays_busy_ends_the_wait(fake: RdsFake, take: Take) -> None:
    fake.instances["shop"].status, fake.instances["shop"].ready_at = "modifying", 1e9

    with pytest.raises(CloudUnavailableError, match="instance shop, which is modifying; nothing was changed"):
        take(deadline=timedelta(minutes=5))

    assert 300 <= fake.clock.seconds < 330


@pytest.mark.parametrize("status", ["stopped", "deleting", "storage-full", "incompatible-network", "a-new-state"])
def test_a_state_that_does_not_pass_is_refused_at_once(fake: RdsFake, take: Take, status: str) -> None:
    fake.instances["shop"].status = status

    with pytest.raises(RefusedError, match=f"is {status}"):
        take()

    assert (fake.clock.seconds, fake.count("CreateDBSnapshot")) == (0, 0)


def test_a_full_quota_is_told_with_its_figures(fake: RdsFake, take: Take) -> None:
    fake.quota = 0

    with pytest.raises(CloudError, match=r"\(0 of 0\); nothing was changed") as caught:
        take()

    assert "quota" in caught.value.hint


@pytest.mark.parametrize(("engine", "cluster"), [("aurora-postgresql", "c1"), ("postgres", "c1"), ("mysql", "")])
def test_clusters_and_other_engines_are_refused(fake: RdsFake, take: Take, engine: str, cluster: str) -> None:
    fake.instances["shop"].engine, fake.instances["shop"].cluster = engine, cluster

    with pytest.raises(InvalidInputError, match="cluster c1" if cluster else "not PostgreSQL"):
        take()


def test_an_unknown_instance_and_a_run_without_an_id_are_told(fake: RdsFake, take: Take) -> None:
    fake.instances.clear()

    with pytest.raises(CloudError, match="no such instance in this Region"):
        take()
    with pytest.raises(InvalidInputError, match="needs the id of the run"):
        SnapshotPurpose(run_id=" ")


def test_a_role_is_taken_on(fake: RdsFake) -> None:
    access = RdsAccess(
        region="eu-central-1",
        endpoint=fake.address,
        access_key="k",
        secret_key="s",
        role="arn:aws:iam::1:role/r-and-more",
    )

    assert open_rds(access).rds.describe_db_instances(DBInstanceIdentifier="shop")["DBInstances"]
    assert [name for name, _ in fake.requests] == ["AssumeRole", "DescribeDBInstances"]
    assert "s3cret" not in repr(RdsAccess(access_key="k", secret_key="s3cret"))


@given(st.text(max_size=300), st.text(min_size=1).filter(str.strip), st.none() | st.text(max_size=300))
def test_every_name_is_one_that_rds_takes_and_every_tag_too(instance: str, run: str, version: str | None) -> None:
    purpose = SnapshotPurpose(run_id=run, migration_version=version)

    name = snapshot_identifier(instance, "db-1", purpose)

    assert re.fullmatch(r"[a-z](-?[a-z0-9])*", name)
    assert len(name) <= 255
    assert name == snapshot_identifier(instance, "db-1", purpose)
    assert name != snapshot_identifier(instance, "db-2", purpose)
    for value in snapshot_tags("db-1", purpose).values():
        assert re.fullmatch(r"[A-Za-z0-9_ .:/=+@-]{1,256}", value)
