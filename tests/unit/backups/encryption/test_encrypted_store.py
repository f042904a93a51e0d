"""An encrypted store: nothing can be read without its key, nothing can be changed without it being seen, never garbage."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from squizzle.backups.catalogue import check_chain, read_catalogue, verify_files
from squizzle.backups.encryption.store import SEALED_MANIFEST, EncryptedStore
from squizzle.backups.files import MANIFEST_NAME, check_files
from squizzle.backups.folder_store import FolderStore
from squizzle.backups.manifest import manifest_hash, to_json
from squizzle.backups.proofs import Verdict
from squizzle.backups.records import SIZE_DETAIL, Backup
from squizzle.backups.store import BackupStore, previous_backup
from squizzle.errors import BackupDamagedError, KeyNotUsableError, SquizzleError, ToolError
from tests.support.keys import random_key, random_keys, ring_of

OTHER = "20250302T120000Z-shop-abcdef"
ROWS = "rows that nobody else may read"


@pytest.fixture(scope="module")
def key() -> str:
    return random_key()


@pytest.fixture(scope="module")
def made(backup: Backup, key: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[EncryptedStore, Backup]:
    """A store with one encrypted backup; tests that change it take a copy."""
    store = EncryptedStore(FolderStore(tmp_path_factory.mktemp("store")), ring_of(key))
    return store, put(store, backup)


def put(store: EncryptedStore, backup: Backup) -> Backup:
    with store.receive(backup.id) as incoming:
        (incoming.folder / "dump").mkdir()
        (incoming.folder / "dump" / "1.dat").write_text(ROWS)
        incoming.stream("base.tar", io.BytesIO(ROWS.encode() * 40_000))
        details = {SIZE_DETAIL: "1234", "superuser": "postgres"}
        return incoming.publish(replace(backup, details=details, files=incoming.describe()))


def place_of(store: EncryptedStore, backup: Backup) -> Path:
    assert isinstance(store.inner, FolderStore)
    return store.inner.path_of(backup)


@pytest.fixture
def mine(made: tuple[EncryptedStore, Backup], key: str, tmp_path: Path) -> tuple[EncryptedStore, Backup, Path]:
    shutil.copytree(place_of(*made).parent, tmp_path / "copy")
    store = EncryptedStore(FolderStore(tmp_path / "copy"), ring_of(key))
    return store, made[1], place_of(store, made[1])


def restore(store: EncryptedStore | FolderStore, backup_id: str) -> str:
    """As a recovery does it: the manifest, the files, their hashes."""
    found = store.read(backup_id)
    with store.fetch(found) as folder:
        check_files(found, folder)
        return (folder / "dump" / "1.dat").read_text()


def verify(store: BackupStore, backup_id: str) -> None:
    """As somebody without a key does it."""
    header = store.read_header(backup_id)
    with store.fetch_stored(header) as folder:
        check_files(header, folder)


def test_what_lies_in_the_store_shows_neither_rows_nor_names_of_tables(made: tuple[EncryptedStore, Backup]) -> None:
    store, backup = made
    folder = place_of(store, backup)

    content = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    for secret in (ROWS.encode(), *(one.table.encode() for one in backup.fingerprint.tables), b"superuser"):
        assert secret not in content
    assert {path.name for path in folder.rglob("*") if path.is_file()} == {
        MANIFEST_NAME,
        SEALED_MANIFEST,
        "1.dat.enc",
        "base.tar.enc",
    }
    assert restore(store, backup.id) == ROWS


def test_without_a_key_it_is_listed_verified_and_chained_but_not_restored(
    mine: tuple[EncryptedStore, Backup, Path], backup: Backup
) -> None:
    store, first, _ = mine
    plain = store.inner
    link = previous_backup(plain, first.database, first.system_identifier)
    assert link is not None
    assert link == previous_backup(store, first.database, first.system_identifier)
    put(store, replace(backup, id=OTHER, location=OTHER, previous=link))

    entries = read_catalogue(plain)
    header = plain.read_header(first.id)

    assert [entry.problems for entry in entries] == [(), ()]
    assert check_chain(plain, entries) == ()
    assert verify_files(plain, header, by="ann").verdict is Verdict.PASS
    assert manifest_hash(header) == manifest_hash(first) == manifest_hash(store.read(first.id))
    assert (header.size_bytes, header.sha256) == (first.size_bytes, first.sha256)
    assert header.details == {SIZE_DETAIL: "1234"}
    assert header.encryption["key"] == first.encryption["key"]
    for use in (lambda: plain.read(first.id), lambda: plain.fetch(header).__enter__()):
        with pytest.raises(KeyNotUsableError, match=f"{first.id} .* no key is named here") as caught:
            use()
        assert "key_file" in caught.value.hint


def test_another_key_says_so_and_an_older_one_on_the_ring_still_restores(
    mine: tuple[EncryptedStore, Backup, Path], key: str
) -> None:
    store, backup, _ = mine

    with pytest.raises(KeyNotUsableError, match=f"encrypted with the key {backup.encryption['key']}"):
        restore(EncryptedStore(store.inner, random_keys()), backup.id)
    assert restore(EncryptedStore(store.inner, ring_of(random_key(), key)), backup.id) == ROWS


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.data())
def test_one_flipped_bit_in_any_file_is_found_by_verification_and_by_restoring(
    mine: tuple[EncryptedStore, Backup, Path], data: st.DataObject
) -> None:
    store, backup, folder = mine
    names = [MANIFEST_NAME, *(file.path for file in backup.stored_files)]
    path = folder / data.draw(st.sampled_from(names))
    content = path.read_bytes()
    at = data.draw(st.integers(0, len(content) - 1))
    changed = bytearray(content)
    changed[at] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(changed)
    try:
        with pytest.raises(BackupDamagedError):
            restore(store, backup.id)
        with pytest.raises(BackupDamagedError):
            verify(store.inner, backup.id)
    finally:
        path.write_bytes(content)


def rewritten(backup: Backup, folder: Path) -> None:
    """The manifest that everybody can read, written by somebody who has no key."""
    (folder / MANIFEST_NAME).write_text(to_json(backup))


def another_database(backup: Backup, folder: Path) -> None:
    rewritten(replace(backup.as_stored, database="payroll"), folder)


def not_encrypted_at_all(backup: Backup, folder: Path) -> None:
    (folder / "dump" / "1.dat").write_text("rows of an intruder")
    files = tuple(file for file in backup.stored_files if not file.path.startswith("dump"))
    rewritten(replace(backup.as_stored, encryption={"cipher": "none"}, files=files), folder)


def files_exchanged(_backup: Backup, folder: Path) -> None:
    one, other = folder / "dump" / "1.dat.enc", folder / "base.tar.enc"
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def file_removed(_backup: Backup, folder: Path) -> None:
    (folder / "dump" / "1.dat.enc").unlink()


def sealed_manifest_removed(_backup: Backup, folder: Path) -> None:
    (folder / SEALED_MANIFEST).unlink()


def of_another_backup(backup: Backup, folder: Path) -> None:
    """All of it under the name of another one, as a thief of time would roll a database back."""
    folder = folder.rename(folder.with_name(OTHER))
    rewritten(replace(backup.as_stored, id=OTHER, location=OTHER), folder)
    folder.with_name(backup.id).symlink_to(folder)


@pytest.mark.parametrize(
    ("change", "backup_id"),
    [
        (another_database, None),
        (not_encrypted_at_all, None),
        (files_exchanged, None),
        (file_removed, None),
        (sealed_manifest_removed, None),
        (of_another_backup, OTHER),
    ],
)
def test_somebody_who_can_write_there_but_has_no_key_gets_nothing_restored(
    mine: tuple[EncryptedStore, Backup, Path], change: Callable[[Backup, Path], None], backup_id: str | None
) -> None:
    store, backup, folder = mine
    change(backup, folder)

    with pytest.raises(SquizzleError) as caught:
        restore(store, backup_id or backup.id)
    assert isinstance(caught.value, (BackupDamagedError, KeyNotUsableError))
    assert caught.value.hint


def test_a_backup_from_before_encryption_is_still_read(tmp_path: Path, backup: Backup) -> None:
    plain = FolderStore(tmp_path)
    with plain.receive(backup.id) as incoming:
        (incoming.folder / "dump").mkdir()
        (incoming.folder / "dump" / "1.dat").write_text(ROWS)
        incoming.publish(replace(backup, files=incoming.describe()))

    assert restore(EncryptedStore(plain, random_keys()), backup.id) == ROWS


def test_without_the_key_nothing_is_begun(tmp_path: Path) -> None:
    def gone() -> tuple[()]:
        raise KeyNotUsableError("the key is gone")

    store = EncryptedStore(FolderStore(tmp_path / "store"), type(random_keys())(gone))

    with pytest.raises(KeyNotUsableError), store.receive(OTHER):
        pass
    assert not (tmp_path / "store").exists()


def test_a_file_that_changes_while_it_is_encrypted_publishes_nothing(
    made: tuple[EncryptedStore, Backup], backup: Backup
) -> None:
    store, _ = made

    def publish() -> None:
        with store.receive(OTHER) as incoming:
            (incoming.folder / "1.dat").write_text(ROWS)
            described = incoming.describe()
            (incoming.folder / "1.dat").write_text("others")
            incoming.publish(replace(backup, id=OTHER, location=OTHER, files=described))

    with pytest.raises(ToolError, match="changed while they were encrypted; nothing was published"):
        publish()
    assert store.list_ids() == (backup.id,)
