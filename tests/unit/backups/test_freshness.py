"""How old backups are: read once for all databases, and never better than they are."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from squizzle.backups.folder_store import FolderStore
from squizzle.backups.freshness import Freshness, Whose, find_freshness
from squizzle.backups.memory import Memory
from squizzle.backups.notes import write_proof
from squizzle.backups.proofs import Proof, ProofKind, Verdict
from squizzle.backups.records import Backup, BackupKind
from squizzle.errors import ToolError

NOW = datetime(2025, 3, 31, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
SHOP = Whose(database="shop", cluster="7300000000000000001", identity_id="")


class Shelf:
    """A store with one backup after the other."""

    def __init__(self, folder: Path, backup: Backup) -> None:
        folder.mkdir()
        self.store = FolderStore(folder)
        self._like = backup
        self.lists = 0

    def put(self, age: timedelta, *verdicts: Verdict, kind: BackupKind = BackupKind.FULL, **other: object) -> Backup:
        at = NOW - age
        like = replace(self._like, files=(), digest=None, kind=kind, **other)  # type: ignore[arg-type]
        name = f"{at:%Y%m%dT%H%M%SZ}-{like.database}-{kind.value}"
        backup = replace(like, id=name, location=name, store=self.store.address, started_at=at)
        with self.store.receive(name) as incoming:
            incoming.publish(backup)
        for number, verdict in enumerate(verdicts):
            proof = Proof(
                backup_id=name,
                kind=ProofKind.RESTORE,
                verdict=verdict,
                at=at + (number + 1) * MINUTE,
                duration=MINUTE,
                by="test",
                sentences=("3 rows, expected 4",) if verdict is Verdict.FAIL else (),
            )
            write_proof(self.store, proof)
        return backup

    def find(self, whose: Whose = SHOP) -> Freshness:
        return find_freshness(self.store, [whose], now=NOW, oldest=NOW - 35 * DAY, patience=MINUTE)[whose]


@pytest.fixture
def shelf(tmp_path: Path, backup: Backup) -> Shelf:
    return Shelf(tmp_path / "store", backup)


def test_the_newest_whole_backup_and_the_newest_restore_that_passed_are_found(shelf: Shelf) -> None:
    shelf.put(timedelta(hours=-3))  # of somebody whose clock is wrong
    shelf.put(1 * DAY, kind=BackupKind.SCHEMA)
    shelf.put(2 * DAY, kind=BackupKind.INCREMENTAL, chain=("gone", "x"))
    shelf.put(3 * DAY, database="till")
    shelf.put(4 * DAY, system_identifier="1")  # of a server that has a database of the same name
    shelf.put(5 * DAY, Verdict.FAIL)
    newest = shelf.put(6 * DAY, Verdict.COULD_NOT_VERIFY)
    shelf.put(7 * DAY, Verdict.FAIL, Verdict.PASS)

    found = shelf.find()

    assert found.newest == newest.started_at
    assert found.proven == NOW - 7 * DAY + 2 * MINUTE
    assert found.failed.endswith("shop-full: 3 rows, expected 4")


def test_a_copy_of_the_cluster_is_a_backup_of_each_of_its_databases(shelf: Shelf) -> None:
    copy = shelf.put(DAY, Verdict.PASS, kind=BackupKind.PHYSICAL, database="postgres")
    assert shelf.find().newest == copy.started_at
    assert shelf.find(replace(SHOP, cluster="1")) == Freshness()


def test_where_the_cluster_is_not_known_the_identity_decides_and_without_both_nobody_knows(shelf: Shelf) -> None:
    made = shelf.put(DAY)
    assert made.identity_id is not None
    assert shelf.find(replace(SHOP, cluster="", identity_id=made.identity_id)).newest == made.started_at
    assert shelf.find(replace(SHOP, cluster="", identity_id="other")).newest is None
    assert "pg_control_system" in shelf.find(replace(SHOP, cluster="")).why_unknown


def test_a_store_is_listed_once_and_old_backups_are_not_read(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.put(36 * DAY, Verdict.PASS)
    shelf.put(34 * DAY)
    read: list[str] = []
    lists: list[int] = []
    header, listing = shelf.store.read_header, shelf.store.list_names
    monkeypatch.setattr(shelf.store, "read_header", lambda one: read.append(one) or header(one))
    monkeypatch.setattr(shelf.store, "list_names", lambda: lists.append(1) or listing())
    many = [replace(SHOP, database=f"shop{number}") for number in range(100)]

    find_freshness(shelf.store, [SHOP, *many], now=NOW, oldest=NOW - 35 * DAY, patience=MINUTE)

    assert (len(read), len(lists)) == (1, 1)


def test_a_store_that_is_not_there_or_not_read_in_time_is_not_an_empty_one(shelf: Shelf, tmp_path: Path) -> None:
    assert shelf.find() == Freshness()
    with pytest.raises(ToolError, match="No such file"):
        find_freshness(FolderStore(tmp_path / "not mounted"), [SHOP], now=NOW, oldest=NOW, patience=MINUTE)
    shelf.put(DAY)
    late = find_freshness(shelf.store, [SHOP], now=NOW, oldest=NOW - 9 * DAY, patience=-MINUTE)[SHOP]
    assert "could not be read through" in late.why_unknown


def test_what_was_read_before_is_read_again_only_where_it_counts(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [shelf.put(number * DAY) for number in range(1, 30)]
    asked: list[str] = []
    header, texts = shelf.store.read_header, shelf.store.texts
    monkeypatch.setattr(shelf.store, "read_header", lambda one: asked.append(one) or header(one))
    monkeypatch.setattr(shelf.store, "texts", lambda one: asked.append(one) or texts(one))
    # As a bucket lists them: also what is no backup any more.
    monkeypatch.setattr(shelf.store, "list_names", lambda: tuple(one.id for one in made))
    file = tmp_path / "kept" / "memory.json"

    def look(at: datetime = NOW) -> tuple[Freshness, int]:
        asked.clear()
        memory = Memory(file, shelf.store.address)
        found = find_freshness(shelf.store, [SHOP], now=at, oldest=NOW - 35 * DAY, patience=MINUTE, memory=memory)
        return found[SHOP], len(asked)

    cold, requests = look()
    assert (cold.newest, cold.proven, requests) == (made[0].started_at, None, 2 * 29)
    assert look() == (cold, 2), "the newest manifest and its notes"

    passed = Proof(
        backup_id=made[9].id, kind=ProofKind.RESTORE, verdict=Verdict.PASS, at=NOW, duration=MINUTE, by="test"
    )
    write_proof(shelf.store, passed)
    assert look() == (cold, 2)
    proven, requests = look(NOW + 61 * MINUTE)
    assert (proven.proven, requests) == (NOW, 1 + 29)

    # Somebody removed a manifest behind our back: it is not taken for one that is there.
    (shelf.store.folder / made[0].id / "manifest.json").unlink()
    assert look(NOW + 61 * MINUTE)[0].newest == made[1].started_at
    file.write_text(file.read_text(encoding="utf-8").replace("shop", "till"), encoding="utf-8")
    assert look(NOW + 61 * MINUTE)[0].newest == made[1].started_at
    file.write_text("{", encoding="utf-8")
    assert look(NOW + 61 * MINUTE)[0].newest == made[1].started_at
    assert [one.name for one in file.parent.iterdir()] == [file.name]
