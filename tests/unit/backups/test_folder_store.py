"""A store that is a folder: a backup is there with its manifest, or it is not there at all."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from squizzle.backups.dump import new_backup_id
from squizzle.backups.files import MANIFEST_NAME, check_files
from squizzle.backups.folder_store import FolderStore
from squizzle.backups.manifest import from_json, manifest_hash, to_json
from squizzle.backups.records import Backup, PreviousBackup
from squizzle.backups.store import previous_backup
from squizzle.errors import InvalidInputError


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


def receive(store: FolderStore, backup: Backup, content: str = "rows") -> Backup:
    """Put a backup with one file into the store."""
    with store.receive(backup.id) as incoming:
        (incoming.folder / "dump").mkdir()
        (incoming.folder / "dump" / "toc.dat").write_text(content)
        described = replace(backup, files=incoming.describe())
        incoming.publish(described)
    return described


def test_a_published_backup_is_there_with_its_manifest_and_its_files(store: FolderStore, backup: Backup) -> None:
    published = receive(store, backup)

    assert store.list_ids() == (backup.id,)
    assert store.read(backup.id) == published
    check_files(published, store.path_of(published))
    assert sorted(path.name for path in store.folder.iterdir()) == [backup.id]


def test_the_manifest_is_there_the_moment_the_name_is(store: FolderStore, backup: Backup) -> None:
    with store.receive(backup.id) as incoming:
        incoming.publish(backup)
        assert not incoming.folder.exists()
        manifest = store.folder / backup.id / MANIFEST_NAME
        assert from_json(manifest.read_text(encoding="utf-8"), source="m") == backup


def test_nobody_else_can_look_into_what_is_being_written(store: FolderStore, backup: Backup) -> None:
    with store.receive(backup.id) as incoming:
        assert stat.S_IMODE(incoming.folder.stat().st_mode) == 0o700
    published = receive(store, backup)
    assert stat.S_IMODE(store.path_of(published).stat().st_mode) == 0o700


def test_a_store_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    assert FolderStore(tmp_path / "nowhere").list_ids() == ()


def test_the_address_of_a_store_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert FolderStore(Path("my backups")).address == f"{tmp_path.as_uri()}/my%20backups"


@pytest.mark.parametrize(
    "name", ["../outside", "..", ".", "", "a/b", "/etc", "20250301T120000Z-shop-abcdef/../x", ".hidden"]
)
def test_only_a_backup_of_this_store_can_be_read(store: FolderStore, backup: Backup, name: str) -> None:
    receive(store, backup)
    # A good manifest everywhere that a name could lead to.
    for folder in (store.folder.parent / "outside", store.folder.parent, store.folder, store.folder / ".hidden"):
        folder.mkdir(exist_ok=True)
        (folder / MANIFEST_NAME).write_text(to_json(backup), encoding="utf-8")

    with pytest.raises(InvalidInputError, match="there is no backup"):
        store.read(name)


def test_a_store_that_cannot_be_made_is_refused(tmp_path: Path, backup: Backup) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(InvalidInputError, match=r"the backup folder .* cannot be written") as caught:
        receive(FolderStore(tmp_path / "file" / "store"), backup)
    assert caught.value.hint


def test_the_id_of_a_backup_sorts_by_time_and_is_a_safe_name(backup: Backup) -> None:
    made = new_backup_id("../Größe; x", now=backup.started_at, suffix="abcdef")

    assert made == "20250301T120000Z----Gr--e--x-abcdef"
    assert len(new_backup_id("x" * 500, now=backup.started_at, suffix="abcdef")) < 80


def test_what_a_killed_run_left_is_removed_and_what_is_being_written_is_not(store: FolderStore, backup: Backup) -> None:
    receive(store, backup)
    for name in (".unfinished-dead", ".removed-half"):
        (store.folder / name / "dump").mkdir(parents=True)
        (store.folder / name / "dump" / "1.dat").write_text("half")

    with store.receive("20250302T120000Z-shop-abcdef") as incoming:
        (incoming.folder / "1.dat").write_text("half")
        assert set(store.remove_leftovers()) == {".unfinished-dead", ".removed-half"}
        assert (incoming.folder / "1.dat").read_text() == "half"

    assert store.list_ids() == (backup.id,)
    assert [path.name for path in store.folder.iterdir()] == [backup.id]


def test_a_store_says_what_still_fits(tmp_path: Path) -> None:
    assert FolderStore(tmp_path / "not" / "yet").free_bytes() > 0


# --- the chain of hashes -------------------------------------------------------------------------------------------


def test_the_previous_backup_is_the_newest_of_the_same_database(store: FolderStore, backup: Backup) -> None:
    def at(hour: int, database: str, system: str) -> Backup:
        now = backup.started_at.replace(hour=hour)
        name = new_backup_id(database, now=now, suffix="aaaaaa")
        made = replace(backup, id=name, location=name, database=database, system_identifier=system)
        return receive(store, made)

    assert previous_backup(store, "shop", "1") is None
    wanted = at(3, "shop", "1")
    at(4, "shop", "2")
    at(5, "shop-2", "1")
    damaged = at(6, "shop", "1")
    (store.path_of(damaged) / MANIFEST_NAME).write_text("{}")

    found = previous_backup(store, "shop", "1")

    assert found == PreviousBackup(id=wanted.id, manifest_sha256=manifest_hash(wanted))
