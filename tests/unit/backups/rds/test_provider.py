"""A snapshot that is gone, failed or another one is no backup; one that nobody could ask for is not called gone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from squizzle.backups.catalogue import carry_out_pruning, plan_pruning, verify_files
from squizzle.backups.folder_store import FolderStore
from squizzle.backups.proofs import Verdict
from squizzle.backups.rds.access import HostKind, RdsHost, chosen_instance, read_host
from squizzle.backups.rds.client import RdsClients
from squizzle.backups.rds.provider import RdsProvider
from squizzle.backups.rds.service import Waiting
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.settings import Retention
from squizzle.errors import InvalidInputError
from tests.support.rds_service import DROP, Fault, RdsFake, Snapshot

NOW = datetime(2025, 6, 1, tzinfo=UTC)
ONE_A_DAY = Retention(daily=1, weekly=0, monthly=0)
DETAILS = {
    "resource_id": "db-SHOP",
    "allocated_bytes": str(20 * 1024**3),
    "kms_key_id": "arn:key",
}


@pytest.fixture
def provider(fake: RdsFake, clients: RdsClients) -> RdsProvider:
    clock = fake.clock
    waiting = Waiting(monotonic=clock.monotonic, now=clock.now, sleep=clock.sleep, outage=timedelta(seconds=30))
    provider = RdsProvider(waiting=waiting)
    provider._opened["eu-central-1"] = clients  # to open them takes longer than all the rest
    return provider


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


def add(store: FolderStore, fake: RdsFake, backup: Backup, name: str, day: int) -> Backup:
    """A backup and its snapshot."""
    fake.snapshots[name] = Snapshot(
        identifier=name, instance="shop", resource_id="db-SHOP", tags={"squizzle:id": "x"}, takes_s=0.0
    )
    made = replace(
        backup,
        id=f"202505{day:02}T120000Z-shop-aaaaaa",
        kind=BackupKind.RDS,
        started_at=datetime(2025, 5, day, tzinfo=UTC),
        details={**DETAILS, "snapshot": name, "arn": f"arn:aws:rds:eu-central-1:1:snapshot:{name}"},
    )
    with store.receive(made.id) as incoming:
        (incoming.folder / "instance.json").write_text("{}")
        made = replace(made, files=incoming.describe())
        incoming.publish(made)
    return made


@pytest.mark.parametrize(
    ("change", "verdict", "said"),
    [
        ({}, Verdict.PASS, ""),
        ({"fails": True}, Verdict.FAIL, "another status: failed, expected available"),
        ({"takes_s": 100.0, "begun_at": 1.0}, Verdict.FAIL, "another status: creating"),
        ({"resource_id": "db-OTHER"}, Verdict.FAIL, "another instance: db-OTHER, expected db-SHOP"),
        ({"gib": 21}, Verdict.FAIL, "another size of storage"),
        ({"account": 2}, Verdict.FAIL, "another ARN: arn:aws:rds:eu-central-1:2:snapshot:s1"),
        ({"key": "arn:other"}, Verdict.FAIL, "another KMS key: arn:other"),
        (None, Verdict.FAIL, "is gone from RDS"),
    ],
    ids=str,
)
def test_the_snapshot_must_be_the_one_of_the_manifest(
    fake: RdsFake,
    provider: RdsProvider,
    store: FolderStore,
    backup: Backup,
    change: dict[str, object] | None,
    verdict: Verdict,
    said: str,
) -> None:
    made = add(store, fake, backup, "s1", 1)
    if change is None:
        fake.snapshots.clear()
    else:
        vars(fake.snapshots["s1"]).update(change)

    proof = verify_files(store, made, by="ann", provider=provider)

    assert proof.verdict is verdict
    assert said in "; ".join(proof.sentences)
    assert bool(proof.sentences) is (verdict is not Verdict.PASS)


@pytest.mark.parametrize(
    "faults",
    [[Fault("AccessDenied", 403)], [Fault("ExpiredToken", 403)], [Fault("Throttling")] * 50, [DROP] * 50],
    ids=["access denied", "expired", "throttled", "cut off"],
)
def test_a_snapshot_that_nobody_could_ask_for_is_not_called_gone_and_not_removed(
    fake: RdsFake, provider: RdsProvider, store: FolderStore, backup: Backup, faults: list[Fault | str | None]
) -> None:
    made, newer = add(store, fake, backup, "s1", 1), add(store, fake, backup, "s2", 2)
    fake.faults["DescribeDBSnapshots"] = [*faults]

    assert verify_files(store, made, by="ann", provider=provider).verdict is Verdict.COULD_NOT_VERIFY
    assert verify_files(store, made, by="ann").verdict is Verdict.COULD_NOT_VERIFY
    fake.faults["DescribeDBSnapshots"] = [*faults]
    plan = plan_pruning(store, ONE_A_DAY, now=NOW)
    result = carry_out_pruning(store, plan, by="ann", reason="old", now=NOW, provider=provider)
    assert list(result.refused) == [made.id]
    assert "nobody was named" in carry_out_pruning(store, plan, by="ann", reason="old", now=NOW).refused[made.id]
    assert (set(fake.snapshots), store.list_ids()) == ({"s1", "s2"}, (newer.id, made.id))


def test_a_removed_backup_takes_its_snapshot_along_even_when_it_was_gone_already(
    fake: RdsFake, provider: RdsProvider, store: FolderStore, backup: Backup
) -> None:
    add(store, fake, backup, "s1", 1)
    add(store, fake, backup, "s2", 2)
    newest = add(store, fake, backup, "s3", 3)
    del fake.snapshots["s1"]  # killed between the snapshot and the manifest
    fake.faults["DeleteDBSnapshot"] = [DROP]

    plan = plan_pruning(store, ONE_A_DAY, now=NOW)
    carry_out_pruning(store, plan, by="ann", reason="old", now=NOW, provider=provider)

    assert (set(fake.snapshots), store.list_ids()) == ({"s3"}, (newest.id,))


def test_a_host_says_which_instance_it_is() -> None:
    there = RdsHost(kind=HostKind.INSTANCE, name="shop", region="eu-central-1")
    assert read_host("shop.c0ffee.eu-central-1.rds.amazonaws.com") == there
    assert read_host("SHOP.c0ffee.eu-central-1.rds.amazonaws.com.") == there
    assert read_host("shop.c0ffee.rds.cn-north-1.amazonaws.com.cn") == replace(there, region="cn-north-1")
    for other in ("", "/run/postgresql", "10.0.0.1", "db.example.com", "shop.rds.amazonaws.com.example.com"):
        assert read_host(other) is None
    assert chosen_instance(said="Crm", region=None, host="shop.c0ffee.eu-west-1.rds.amazonaws.com") == (
        "crm",
        "eu-west-1",
    )
    assert chosen_instance(said=None, region="x", host="shop.c0ffee.eu-west-1.rds.amazonaws.com") == ("shop", "x")


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("shop.cluster-c0ffee.eu-central-1.rds.amazonaws.com", "shop is a cluster"),
        ("shop.cluster-ro-c0ffee.eu-central-1.rds.amazonaws.com", "shop is a cluster"),
        ("shop.proxy-c0ffee.eu-central-1.rds.amazonaws.com", "shop is a proxy"),
        ("db.example.com", "the host db.example.com is none of RDS"),
    ],
)
def test_a_host_that_is_no_instance_is_refused_with_the_next_step(host: str, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said) as caught:
        chosen_instance(said=None, region=None, host=host)
    assert "--instance" in caught.value.hint or "create-db-cluster-snapshot" in caught.value.hint
