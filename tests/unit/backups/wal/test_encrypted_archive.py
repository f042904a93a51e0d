"""An encrypted archive of the log: the same in and out, nothing to read without the key, and never an end of the log."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from squizzle.backups.wal.archive import FolderArchive
from squizzle.backups.wal.check import check_cluster
from squizzle.backups.wal.encrypted import EncryptedArchive
from squizzle.backups.wal.names import lsn_text
from squizzle.backups.wal.transfer import archive_wal, fetch_wal
from squizzle.cli.main import run
from squizzle.errors import BackupDamagedError, KeyNotUsableError, RefusedError
from tests.support.keys import random_key, random_keys
from tests.support.wal import SEGMENT_BYTES, SYSTEM, write_segment

ONE, TWO = "000000010000000000000001", "000000010000000000000002"


@pytest.fixture
def folder(tmp_path: Path) -> FolderArchive:
    return FolderArchive(tmp_path / "store")


@pytest.fixture
def archive(folder: FolderArchive) -> EncryptedArchive:
    return EncryptedArchive(folder, random_keys())


def put(archive: EncryptedArchive | FolderArchive, path: Path, *, compress: bool = False) -> bool:
    return archive_wal(archive, path, path.name, system_identifier=SYSTEM, compress=compress).was_there


def place_of(folder: FolderArchive) -> Path:
    return folder.folder / "wal" / SYSTEM


@pytest.mark.parametrize("compress", [False, True])
def test_a_segment_comes_back_and_the_same_again_is_success(
    archive: EncryptedArchive, folder: FolderArchive, tmp_path: Path, *, compress: bool
) -> None:
    path = write_segment(tmp_path, 1)

    assert not put(archive, path, compress=compress)
    assert put(archive, path, compress=not compress)

    assert fetch_wal(archive, ONE, tmp_path / "x", system_identifier=SYSTEM)
    assert (tmp_path / "x").read_bytes() == path.read_bytes()
    stored = [one for one in place_of(folder).iterdir() if one.is_file()]
    assert {one.suffix for one in stored} == {".enc"}
    assert not [one for one in stored if path.read_bytes()[:64] in one.read_bytes()]
    write_segment(tmp_path, 1, seed="another")
    with pytest.raises(RefusedError, match=f"has another {ONE}"):
        put(archive, path)


def test_it_is_looked_through_with_the_key_beside_what_is_not_encrypted(
    archive: EncryptedArchive, folder: FolderArchive, tmp_path: Path
) -> None:
    put(folder, write_segment(tmp_path, 1))  # from before
    for number in (2, 3):
        put(archive, write_segment(tmp_path, number), compress=number == 3)
    history = tmp_path / "00000002.history"
    history.write_text(f"1\t{lsn_text(3 * SEGMENT_BYTES + 4711)}\tno recovery target specified\n")
    put(archive, history)

    found = check_cluster(archive, SYSTEM, read=True)

    assert found.problems == ()
    assert [(run.first, run.segments) for run in found.timelines[0].runs] == [(ONE, 3)]
    assert found.segment_bytes == SEGMENT_BYTES
    (place_of(folder) / f"{TWO}.enc").write_bytes((place_of(folder) / f"{TWO}.enc").read_bytes()[:-100])
    assert any(TWO in problem for problem in check_cluster(archive, SYSTEM).problems)


def test_without_the_key_or_with_another_one_recovery_stops_instead_of_ending(
    archive: EncryptedArchive, folder: FolderArchive, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(archive, write_segment(tmp_path, 1))
    key = tmp_path / "key"
    key.write_text(random_key())
    key.chmod(0o600)
    command = ["fetch-wal", ONE, str(tmp_path / "x"), "--store", folder.address, "--system-identifier", SYSTEM]

    assert run(command) == 200
    assert "are encrypted, and no key is named" in capsys.readouterr().err
    assert run([*command, "--key-file", str(key)]) == 200
    assert "the keys here are" in capsys.readouterr().err
    assert run([*command, "--key-file", str(tmp_path / "not there")]) == 200
    assert not (tmp_path / "x").exists()


def test_the_commands_encrypt_and_decrypt_with_the_keys_of_a_file(folder: FolderArchive, tmp_path: Path) -> None:
    path, key, old = write_segment(tmp_path, 1), tmp_path / "key", random_key()
    key.write_text(old)
    key.chmod(0o600)
    common = ["--store", folder.address, "--key-file", str(key), "--system-identifier", SYSTEM]

    assert run(["archive-wal", str(path), ONE, *common]) == 0
    key.write_text(f"{random_key()}\n{old}")

    assert run(["fetch-wal", ONE, str(tmp_path / "x"), *common]) == 0
    assert (tmp_path / "x").read_bytes() == path.read_bytes()


def test_a_changed_or_an_exchanged_segment_is_refused(
    archive: EncryptedArchive, folder: FolderArchive, tmp_path: Path
) -> None:
    for number in (1, 2):
        put(archive, write_segment(tmp_path, number))
    one, two = (place_of(folder) / f"{name}.enc" for name in (ONE, TWO))
    content = one.read_bytes()
    for at in (0, 500, 1030, 1100, len(content) - 1):
        changed = bytearray(content)
        changed[at] ^= 1
        one.write_bytes(changed)
        with pytest.raises((BackupDamagedError, KeyNotUsableError)):
            fetch_wal(archive, ONE, tmp_path / "x", system_identifier=SYSTEM)
    shutil.copy(two, one)
    with pytest.raises(BackupDamagedError, match="belongs to something else"):
        fetch_wal(archive, ONE, tmp_path / "x", system_identifier=SYSTEM)
