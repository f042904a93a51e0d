"""A recovery by RDS: another instance from a snapshot, compared, and reached by the name of the damaged one."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest
from psycopg import sql
from pydantic import SecretStr

from blocks import BackupFolder, PostgresDatabase, RdsInstance
from flows.back_up import back_up
from flows.recover import recover
from squizzle.backups.rds.service import Waiting
from squizzle.postgres.access import ServerAccess, connect
from squizzle.postgres.embedded import ServerAddress, find_runtime, throwaway_cluster
from squizzle.recovery.fence import is_fenced
from squizzle.recovery.fences.book import FenceBook
from squizzle.recovery.recovery import RecoveryOutcome
from squizzle.recovery.ways import Way
from tests.flows.test_recover import report_of, rows, shop
from tests.support.forwarder import Place, forwarder
from tests.support.rds_instances import DEFAULTS, InstancesFake, rds_instances
from tests.support.rds_service import START, Instance

__all__ = ["shop"]  # a fixture of the other file

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
OLD, NEW, NAME = "127.0.0.10", "127.0.0.11", "127.0.0.12"


@pytest.fixture
def other(address: ServerAddress, shop: str) -> Iterator[ServerAccess]:
    """The server behind the restored instance: the database as it was when the snapshot was taken."""
    with throwaway_cluster("restored", settings={}, runtime=find_runtime()) as running:
        access = ServerAccess(host=str(running.socket_folder), port=running.port, user=running.user)
        with connect(access, "postgres", purpose="test") as control:
            password = sql.Literal(address.read_password())
            control.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(running.user), password))
            control.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(shop)))
        with connect(access, shop, purpose="test") as session:
            session.execute("CREATE TABLE account (id serial PRIMARY KEY, owner text)")
            session.execute("INSERT INTO account (owner) SELECT 'o' || n FROM generate_series(1, 1000) AS n")
        yield access


@pytest.fixture
def fake(address: ServerAddress, other: ServerAccess, monkeypatch: pytest.MonkeyPatch) -> Iterator[InstancesFake]:
    """RDS with two servers behind it, each at an address of its own, and a name that leads to one of them."""
    assert other.port is not None
    servers: dict[str, Place] = {"db-1": (address.host, address.port), "db-2": ("127.0.0.1", other.port)}
    with rds_instances() as fake, ExitStack() as stack:

        def by_name() -> Place | None:
            found = fake.documents.get("shop", {"hidden": True})
            return None if found.get("hidden") else servers[found["DbiResourceId"]]

        port = stack.enter_context(forwarder(NAME, 0, by_name))
        for host, id_ in ((OLD, "db-1"), (NEW, "db-2")):
            stack.enter_context(forwarder(host, port, lambda id_=id_: servers[id_]))
        fake.hosts = {"db-1": OLD, "db-2": NEW}
        fake.snapshot_takes_s = 0.0
        fake.put("shop", Port=port)
        fake.instances["shop"] = Instance(identifier="shop", resource_id="db-1")
        clock = fake.clock
        monkeypatch.setattr(
            "tasks.cloud.WAITING",
            Waiting(monotonic=clock.monotonic, now=clock.now, sleep=clock.sleep, jitter=lambda: 0.5),
        )
        yield fake


def saved(block: Any, kind: Any) -> Any:
    name = f"{kind._block_type_slug}-{secrets.token_hex(3)}"
    block.save(name)
    return kind.load(name)


def test_a_snapshot_becomes_another_instance_that_is_compared_and_gets_the_name_while_everything_is_shut(
    access: ServerAccess,
    server_block: PostgresDatabase,
    store_block: BackupFolder,
    fake: InstancesFake,
    other: ServerAccess,
    shop: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with connect(access, shop, purpose="test") as session:
        version = session.info.server_version
    # What every instance comes up with: the very version of the servers behind it.
    monkeypatch.setitem(DEFAULTS, "EngineVersion", f"{version // 10000}.{version % 10000}")
    fake.documents["shop"]["EngineVersion"] = DEFAULTS["EngineVersion"]
    place = {"host": NAME, "port": fake.documents["shop"]["Port"], "database": shop}
    database = saved(server_block.model_copy(update=place), PostgresDatabase)
    keys = {"access_key": "k", "secret_key": SecretStr("s"), "region": "eu-central-1"}
    rds = saved(RdsInstance(instance="shop", endpoint=fake.address, **keys), RdsInstance)
    back_up(database=database, store=store_block)
    # Newer than the other backup, so that less is lost.
    fake.clock.seconds = (datetime.now(UTC) - START).total_seconds() + 1
    snapshot = back_up(database=database, store=store_block, kind="rds", rds=rds)
    with connect(access, shop, purpose="test") as session:
        session.execute("INSERT INTO account (owner) VALUES ('after the snapshot')")
        session.execute("DELETE FROM account WHERE id <= 400")

    report = report_of(
        recover(database=database, store=store_block, rds=rds, dry_run=False, may_lose_data=True, return_state=True)
    )

    assert report.outcome is RecoveryOutcome.RECOVERED, report.reasons
    evidence = report.evidence
    assert [one.way for one in evidence.decisions] == [Way.CLOUD]
    assert evidence.verified == f"every table has the rows of snapshot {snapshot.id}"
    assert not report.fenced
    assert rows(database.access(), shop) == rows(other, shop) == (1000, 1000)
    with connect(other, shop, purpose="test") as session:
        assert session.execute("SELECT nextval('account_id_seq')").fetchone() == (1002,)
    # The damaged one is kept, shut; nobody's notes about fences are left on the one in service.
    (kept,) = (name for name in fake.documents if name.startswith("shop-old-"))
    assert fake.documents[kept]["DbiResourceId"] == "db-1"
    assert any(f"kept as {kept}" in one for one in evidence.notes)
    with connect(access, "postgres", purpose="test") as old, connect(other, "postgres", purpose="test") as new:
        assert is_fenced(old, shop)
        assert not is_fenced(new, shop)
        assert FenceBook(new).read(f"database {shop}") is None
        assert new.execute("SELECT count(*) FROM squizzle.fence").fetchone() == (0,)
        FenceBook(old).remove(f"database {shop}")
