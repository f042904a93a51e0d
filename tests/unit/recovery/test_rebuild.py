"""What a lost server is rebuilt from: the newest backup of each database that nothing is known against."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from squizzle.backups.folder_store import FolderStore
from squizzle.backups.notes import write_proof
from squizzle.backups.proofs import Proof, ProofKind, Verdict
from squizzle.backups.records import Backup, BackupKind
from squizzle.errors import InvalidInputError
from squizzle.recovery.rebuild.finding import find_saved_server
from squizzle.recovery.scratch import PREFIX

NOW = datetime(2025, 6, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


def add(store: FolderStore, backup: Backup, day: int, database: str, **changes: object) -> Backup:
    name = f"202503{day:02}T120000Z-{database}-aaaaaa"
    with store.receive(name) as incoming:
        (incoming.folder / "globals.sql").write_text("-- roles")
        made = replace(
            backup,
            id=name,
            location=name,
            database=database,
            system_identifier="71",
            started_at=backup.started_at.replace(day=day),
            files=incoming.describe(),
            previous=None,
        )
        return incoming.publish(replace(made, **changes))  # type: ignore[arg-type]


def refuted(store: FolderStore, backup: Backup) -> None:
    proof = Proof(
        backup_id=backup.id,
        kind=ProofKind.RESTORE,
        verdict=Verdict.FAIL,
        at=NOW,
        by="ann",
        duration=timedelta(seconds=1),
        sentences=("public.t has other rows",),
    )
    write_proof(store, proof)


def test_each_database_comes_from_its_newest_backup_that_passed_and_what_is_passed_over_is_said(
    store: FolderStore, backup: Backup
) -> None:
    add(store, backup, 1, "ledger")
    add(store, backup, 2, "shop")
    add(store, backup, 3, "shop", kind=BackupKind.SCHEMA)
    refuted(store, add(store, backup, 4, "shop"))
    copy = add(store, backup, 5, "shop", kind=BackupKind.PHYSICAL)
    add(store, backup, 6, f"{PREFIX}0badcafe")

    found = find_saved_server(store)

    assert [(one.database, one.started_at.day) for one in found.databases] == [("ledger", 1), ("shop", 2)]
    assert found.oldest.day == 1
    passed_over, other_way = found.notes
    assert "20250304T120000Z-shop-aaaaaa" in passed_over
    assert "public.t has other rows" in passed_over
    assert f"squizzle restore {copy.id} --into-folder DIR --to-latest" in other_way


def test_roles_come_with_passwords_where_any_backup_has_them(store: FolderStore, backup: Backup) -> None:
    having = add(store, backup, 1, "shop", not_covered=())
    add(store, backup, 2, "shop", not_covered=("passwords of roles: left out on request",))

    assert find_saved_server(store).roles.id == having.id


def test_of_several_servers_one_has_to_be_named(store: FolderStore, backup: Backup) -> None:
    add(store, backup, 1, "shop")
    add(store, backup, 2, "ledger", system_identifier="72")

    with pytest.raises(InvalidInputError, match=r"2 servers: 71 \(shop, last saved 2025-03-01.*72 \(ledger"):
        find_saved_server(store)

    assert [one.database for one in find_saved_server(store, cluster="72").databases] == ["ledger"]
    with pytest.raises(InvalidInputError, match="no usable whole backup of the server 73"):
        find_saved_server(store, cluster="73")
