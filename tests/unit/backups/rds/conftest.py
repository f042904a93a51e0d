"""One RDS of our own for the folder, with an instance `shop`, as new for every test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from squizzle.backups.rds.access import RdsAccess
from squizzle.backups.rds.client import RdsClients, open_rds
from tests.support.rds_service import Instance, RdsFake, rds_service


@pytest.fixture(scope="session")
def server() -> Iterator[RdsFake]:
    with rds_service() as fake:
        yield fake


@pytest.fixture(scope="session")
def clients(server: RdsFake) -> RdsClients:
    return open_rds(RdsAccess(region="eu-central-1", endpoint=server.address, access_key="k", secret_key="s"))


@pytest.fixture(scope="session")
def client(clients: RdsClients) -> Any:
    return clients.rds


@pytest.fixture
def fake(server: RdsFake) -> RdsFake:
    vars(server).update(vars(RdsFake(address=server.address)))
    server.instances["shop"] = Instance(identifier="shop", resource_id="db-SHOP")
    return server
