"""The block opens clients that work and shows no secret; the flow takes a snapshot of its instance."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from blocks import BackupFolder, PostgresDatabase, RdsInstance
from flows.back_up import back_up
from flows.check_backups import check_backups
from squizzle.backups.notes import read_notes
from squizzle.backups.order import Order
from squizzle.backups.proofs import ProofKind, Verdict
from squizzle.backups.rds.instance import InstanceSnapshots
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.taking import take_backup
from squizzle.errors import InvalidInputError
from squizzle.postgres.access import ServerAccess, connect
from squizzle.postgres.programs import find_programs
from tests.support.rds_service import Instance, RdsFake, rds_service

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture
def fake() -> Iterator[RdsFake]:
    with rds_service() as fake:
        fake.instances["shop"] = Instance(identifier="shop", resource_id="db-SHOP")
        fake.snapshot_takes_s = 0.0
        yield fake


def block_for(fake: RdsFake) -> RdsInstance:
    return RdsInstance(
        instance="shop",
        region="eu-central-1",
        endpoint=fake.address,
        access_key="k",
        secret_key=SecretStr("s3cret"),
    )


def test_the_block_opens_its_clients_and_hides_its_secrets(fake: RdsFake) -> None:
    block = block_for(fake)

    found = block.open().rds.describe_db_instances(DBInstanceIdentifier=block.instance)

    assert found["DBInstances"][0]["DbiResourceId"] == "db-SHOP"
    assert "s3cret" not in repr(block)
    assert all(field.description for field in RdsInstance.model_fields.values())


def test_the_flow_takes_a_snapshot_and_old_ones_go_with_their_manifests(
    fake: RdsFake, server_block: PostgresDatabase, store_block: BackupFolder, access: ServerAccess
) -> None:
    with connect(access, "postgres", purpose="test") as session:
        version = session.info.server_version
    fake.instances["shop"].version = f"{version // 10000}.{version % 10000}"
    block = block_for(fake)
    rds = {"$ref": str(block.save(f"rds-{secrets.token_hex(3)}"))}
    order = Order(
        access=access,
        target=server_block.target(),
        store=store_block.open(),
        kind=BackupKind.RDS,
        programs=find_programs(explicit=None, server_major=version // 10000),
        snapshots=InstanceSnapshots(block.access(), block.instance),
    )
    # Of two in one second the later letters count as the newer.
    first = take_backup(order, suffix="000000")

    state = back_up(
        database=server_block,
        store=store_block,
        kind="rds",
        rds=rds,
        prune=True,
        keep_daily=1,
        keep_weekly=0,
        keep_monthly=0,
        return_state=True,
    )

    assert state.is_completed(), state.message
    backup = state.result()
    assert isinstance(backup, Backup)
    store = store_block.open()
    assert store.list_ids() == (backup.id,)
    assert list(fake.snapshots) == [backup.details["snapshot"]] != [first.details["snapshot"]]
    proof = read_notes(store, backup.id).last(ProofKind.FILES)
    assert proof is not None
    assert (proof.verdict, proof.details["snapshot"]) == (Verdict.PASS, "available")

    fake.snapshots.clear()
    looked = check_backups(store=store_block, restore=False, rds=rds, return_state=True)
    assert "is gone from RDS" in (looked.message or "")
    with pytest.raises(InvalidInputError, match="no instance of RDS was chosen"):
        back_up(database=server_block, store=store_block, kind="rds")
