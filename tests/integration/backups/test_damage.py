"""A backup that is not what it was is refused before anything is made of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from squizzle.backups.folder_store import FolderStore
from squizzle.backups.records import Backup
from squizzle.errors import BackupDamagedError, InvalidInputError
from squizzle.postgres.access import Connection, ServerAccess
from squizzle.postgres.database_properties import read_properties
from squizzle.postgres.programs import ClientPrograms
from squizzle.recovery.disasters import flip_byte
from squizzle.recovery.restore import restore_beside

INTO = "damaged_restore"


@pytest.fixture
def copy(taken: tuple[FolderStore, Backup], tmp_path: Path) -> tuple[FolderStore, Backup, Path]:
    """A copy of the backup that may be damaged: its store, its record from before, its folder."""
    original, backup = taken
    store = FolderStore(tmp_path / "store")
    shutil.copytree(original.folder, store.folder)
    return store, backup, store.path_of(backup)


Restore = Callable[[FolderStore, str], Backup]


@pytest.fixture
def restore(access: ServerAccess, control: Connection, programs: ClientPrograms, filled: str) -> Restore:
    """What a recovery does: read the manifest, then restore beside."""

    def start(store: FolderStore, backup_id: str) -> Backup:
        backup = store.read(backup_id)
        like = read_properties(control, filled)
        restore_beside(access, control, backup, store.path_of(backup), programs=programs, into=INTO, like=like)
        return backup

    return start


def exists(control: Connection, name: str) -> bool:
    return control.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone() is not None


def damage_by_truncation(folder: Path) -> str:
    victim = max(folder.glob("dump/*.dat.gz"), key=lambda path: path.stat().st_size)
    with victim.open("r+b") as file:
        file.truncate(victim.stat().st_size - 1)
    return victim.name


def damage_by_emptying(folder: Path) -> str:
    (folder / "dump/toc.dat").write_bytes(b"")
    return "toc.dat has 0 bytes"


def damage_by_removal(folder: Path) -> str:
    victim = next(folder.glob("dump/*.dat.gz"))
    victim.unlink()
    return f"{victim.name} is missing"


def damage_by_addition(folder: Path) -> str:
    (folder / "dump/9999.dat.gz").write_bytes(b"x")
    return "9999.dat.gz is not in the manifest"


def damage_by_exchange(folder: Path) -> str:
    one, other = sorted(folder.glob("dump/*.dat.gz"))[:2]
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    return one.name


def damage_by_losing_the_dump(folder: Path) -> str:
    shutil.rmtree(folder / "dump")
    return "toc.dat is missing"


def damage_by_a_flipped_byte(folder: Path) -> str:
    return flip_byte(folder / "dump")


@pytest.mark.parametrize(
    "damage",
    [
        damage_by_truncation,
        damage_by_emptying,
        damage_by_removal,
        damage_by_addition,
        damage_by_exchange,
        damage_by_losing_the_dump,
        damage_by_a_flipped_byte,
    ],
)
def test_damaged_files_are_named_and_no_database_is_made(
    copy: tuple[FolderStore, Backup, Path], restore: Restore, control: Connection, damage: Callable[[Path], str]
) -> None:
    store, backup, folder = copy
    named = damage(folder)
    with pytest.raises(BackupDamagedError) as caught:
        restore(store, backup.id)
    assert named in caught.value.message
    assert backup.id in caught.value.message
    assert not exists(control, INTO)


def test_all_damaged_files_are_named_not_only_the_first(
    copy: tuple[FolderStore, Backup, Path], restore: Restore
) -> None:
    store, backup, folder = copy
    named = [damage_by_truncation(folder), damage_by_emptying(folder), damage_by_addition(folder)]
    with pytest.raises(BackupDamagedError) as caught:
        restore(store, backup.id)
    assert [name for name in named if name not in caught.value.message] == []


def test_backup_without_its_manifest_does_not_exist(copy: tuple[FolderStore, Backup, Path], restore: Restore) -> None:
    store, backup, folder = copy
    (folder / "manifest.json").unlink()
    assert store.list_ids() == ()
    with pytest.raises(InvalidInputError, match="there is no backup"):
        restore(store, backup.id)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", '{"manifest": {}, "manifest_sha256": ""}', "\x00", "not json"]
)
def test_manifest_that_is_none_is_refused(
    copy: tuple[FolderStore, Backup, Path], restore: Restore, control: Connection, text: str
) -> None:
    store, backup, folder = copy
    (folder / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(BackupDamagedError, match=r"manifest\.json"):
        restore(store, backup.id)
    assert not exists(control, INTO)


def test_manifest_of_another_backup_is_refused(
    copy: tuple[FolderStore, Backup, Path], restore: Restore, control: Connection
) -> None:
    # Otherwise the other backup would be restored instead of the one that was asked for.
    store, backup, folder = copy
    shutil.copytree(folder, store.folder / "another")
    with pytest.raises(BackupDamagedError, match=backup.id):
        restore(store, "another")
    assert not exists(control, INTO)


@pytest.mark.parametrize("backup_id", ["", ".", "..", "../store", "no such", "/etc"])
def test_name_that_is_no_backup_of_the_store_is_refused(
    copy: tuple[FolderStore, Backup, Path], restore: Restore, backup_id: str
) -> None:
    with pytest.raises(InvalidInputError, match="there is no backup"):
        restore(copy[0], backup_id)
