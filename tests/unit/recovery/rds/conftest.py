"""One RDS of our own for the folder, as new for every test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from squizzle.backups.rds.access import RdsAccess
from squizzle.backups.rds.client import open_rds
from squizzle.backups.rds.service import Waiting
from tests.support.rds_instances import InstancesFake, rds_instances
from tests.support.rds_service import Snapshot


@pytest.fixture(scope="session")
def server() -> Iterator[InstancesFake]:
    with rds_instances() as fake:
        yield fake


@pytest.fixture(scope="session")
def client(server: InstancesFake) -> Any:
    return open_rds(RdsAccess(region="eu-central-1", endpoint=server.address, access_key="k", secret_key="s")).rds


@pytest.fixture
def fake(server: InstancesFake) -> InstancesFake:
    vars(server).update(vars(InstancesFake(address=server.address)))
    server.snapshots["s1"] = Snapshot(identifier="s1", instance="shop", resource_id="db-1", tags={}, takes_s=0.0)
    return server


@pytest.fixture
def waiting(fake: InstancesFake) -> Waiting:
    clock = fake.clock
    return Waiting(monotonic=clock.monotonic, now=clock.now, sleep=clock.sleep, jitter=lambda: 0.5)
