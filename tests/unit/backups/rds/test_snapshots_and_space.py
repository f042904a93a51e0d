"""Only our own snapshots are listed and deleted; free space that nobody measured is not zero."""

from __future__ import annotations

from datetime import timedelta

import pytest

from squizzle.backups.rds.client import RdsClients
from squizzle.backups.rds.free_space import read_rds_space
from squizzle.backups.rds.service import Waiting
from squizzle.backups.rds.snapshots import delete_rds_snapshot, list_rds_snapshots
from squizzle.errors import CloudUnavailableError, InvalidInputError, RefusedError
from tests.support.rds_service import DROP, START, Fault, RdsFake, Snapshot

GIB = 1024**3
OURS = {"squizzle:id": "x"}


def waiting(fake: RdsFake) -> Waiting:
    return Waiting(monotonic=fake.clock.monotonic, now=fake.clock.now, sleep=fake.clock.sleep, jitter=lambda: 0.5)


def put(fake: RdsFake, name: str, **facts: object) -> None:
    fake.snapshots[name] = Snapshot(
        identifier=name, **{"instance": "shop", "resource_id": "db-SHOP", "tags": OURS, "takes_s": 0.0, **facts}
    )


def test_ours_are_listed_newest_first_over_all_pages(fake: RdsFake, clients: RdsClients) -> None:
    fake.page = 2
    for number in range(5):
        put(fake, f"s{number}", begun_at=float(number))
    put(fake, "by-hand", tags={})
    put(fake, "rds:nightly", kind="automated")
    put(fake, "other", instance="crm")

    listed = [one.identifier for one in list_rds_snapshots(clients.rds, instance="shop", waiting=waiting(fake))]

    assert listed == ["s4", "s3", "s2", "s1", "s0"]
    assert len(list_rds_snapshots(clients.rds, waiting=waiting(fake))) == 6


def test_ours_is_deleted_even_when_the_reply_is_lost(fake: RdsFake, clients: RdsClients) -> None:
    put(fake, "s1")
    fake.faults["DeleteDBSnapshot"] = [DROP]

    delete_rds_snapshot(clients.rds, "s1", resource_id="db-SHOP", waiting=waiting(fake))

    assert fake.snapshots == {}
    with pytest.raises(InvalidInputError, match="no snapshot s1"):
        delete_rds_snapshot(clients.rds, "s1", resource_id="db-SHOP", waiting=waiting(fake))


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"tags": {}}, "no tag"),
        ({"kind": "automated"}, "automated, not manual"),
        ({"resource_id": "db-NEW"}, "of the instance db-NEW"),
    ],
)
def test_what_is_not_ours_stays(fake: RdsFake, clients: RdsClients, facts: dict[str, object], reason: str) -> None:
    put(fake, "s1", **facts)

    with pytest.raises(RefusedError, match=reason):
        delete_rds_snapshot(clients.rds, "s1", resource_id="db-SHOP", waiting=waiting(fake))

    assert list(fake.snapshots) == ["s1"]


def test_free_space_is_the_newest_measurement_beside_what_rds_may_add(fake: RdsFake, clients: RdsClients) -> None:
    newest = START - timedelta(minutes=1)
    fake.metric = [(START - timedelta(minutes=3), 9.0 * GIB), (newest, 3.0 * GIB), (START - timedelta(minutes=2), 5e9)]

    space = read_rds_space(clients.rds, clients.cloudwatch, "shop", waiting=waiting(fake))

    assert (space.free_bytes, space.measured_at) == (3 * GIB, newest)
    assert (space.allocated_bytes, space.growth_bytes, space.missing) == (20 * GIB, 80 * GIB, "")
    asked = next(asked for name, asked in fake.requests if name == "GetMetricStatistics")
    assert asked["Dimensions"] == [{"Name": "DBInstanceIdentifier", "Value": "shop"}]


def test_a_missing_measurement_is_not_zero(fake: RdsFake, clients: RdsClients) -> None:
    space = read_rds_space(clients.rds, clients.cloudwatch, "shop", waiting=waiting(fake))

    assert (space.free_bytes, space.measured_at) == (None, None)
    assert "no FreeStorageSpace of shop" in space.missing


def test_a_busy_cloudwatch_is_asked_again_and_not_for_ever(fake: RdsFake, clients: RdsClients) -> None:
    fake.metric = [(START, 1.0)]
    fake.faults["GetMetricStatistics"] = [Fault("ThrottlingException"), Fault("InternalServiceFault", 500)]

    assert read_rds_space(clients.rds, clients.cloudwatch, "shop", waiting=waiting(fake)).free_bytes == 1

    fake.faults["GetMetricStatistics"] = [Fault("ThrottlingException")] * 99
    with pytest.raises(CloudUnavailableError, match="free space of shop"):
        read_rds_space(clients.rds, clients.cloudwatch, "shop", waiting=waiting(fake))


def test_who_may_not_see_the_free_space_is_told_so_and_not_stopped(fake: RdsFake, clients: RdsClients) -> None:
    fake.faults["GetMetricStatistics"] = [Fault("AccessDenied", 403)]

    space = read_rds_space(clients.rds, clients.cloudwatch, "shop", waiting=waiting(fake))

    assert (space.free_bytes, space.allocated_bytes) == (None, 20 * GIB)
    assert "the account may not do that" in space.missing
    assert "docs/rds.md" in space.missing
