"""One contract for every store: a folder, and a bucket of a real S3 server, as they are and encrypted."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from squizzle.backups.encryption.store import ENCRYPTED, EncryptedStore
from squizzle.backups.files import MANIFEST_NAME, check_files, describe_files
from squizzle.backups.folder_store import FolderStore
from squizzle.backups.manifest import to_json
from squizzle.backups.records import Backup
from squizzle.backups.s3.store import S3Store
from squizzle.backups.store import BackupStore, notes_of
from squizzle.errors import BackupDamagedError, InvalidInputError, ToolError
from tests.support.buckets import paths_in, place_in
from tests.support.keys import random_keys

OTHER = "20250302T120000Z-shop-abcdef"


class Raw(Protocol):
    """A store, and what lies in it without its help; files have a suffix there when they are encrypted."""

    store: BackupStore
    suffix: str

    def names(self) -> set[str]: ...
    def write(self, path: str, content: bytes) -> None: ...


class RawFolder:
    suffix = ""

    def __init__(self, folder: Path) -> None:
        self.store = FolderStore(folder)
        self._folder = folder

    def names(self) -> set[str]:
        return {path.name for path in self._folder.iterdir()}

    def write(self, path: str, content: bytes) -> None:
        target = self._folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


class RawBucket:
    suffix = ""

    def __init__(self, store: S3Store) -> None:
        self.store = store
        self.plain = store

    def names(self) -> set[str]:
        return {path.partition("/")[0] for path in paths_in(self.plain)}

    def write(self, path: str, content: bytes) -> None:
        bucket = self.plain.bucket
        bucket._client.put_object(**bucket._at(path), Body=content)


@pytest.fixture(params=["folder", "bucket", "encrypted folder", "encrypted bucket"])
def raw(request: pytest.FixtureRequest, tmp_path: Path) -> Raw:
    found: RawFolder | RawBucket
    if "folder" in request.param:
        (tmp_path / "store").mkdir()
        found = RawFolder(tmp_path / "store")
    else:
        found = RawBucket(S3Store(place_in(request.getfixturevalue("bucket"))))
    if "encrypted" in request.param:
        found.store = EncryptedStore(found.store, random_keys())
        found.suffix = ENCRYPTED
    return found


def receive(store: BackupStore, backup: Backup, content: str = "rows") -> Backup:
    """Put a backup of two files into the store."""
    with store.receive(backup.id) as incoming:
        (incoming.folder / "dump").mkdir()
        (incoming.folder / "dump" / "toc.dat").write_text(content)
        (incoming.folder / "dump" / "empty.dat").touch()
        return incoming.publish(replace(backup, files=incoming.describe()))


def test_a_published_backup_is_there_with_its_manifest_and_its_files(raw: Raw, backup: Backup) -> None:
    assert raw.store.list_ids() == ()

    published = receive(raw.store, backup)

    assert raw.store.list_ids() == (backup.id,)
    assert raw.store.read(backup.id) == published
    with raw.store.fetch(published) as folder:
        check_files(published, folder)
        assert (folder / "dump" / "toc.dat").read_text() == "rows"
    assert raw.names() == {backup.id}


def test_while_it_is_written_a_backup_is_not_there(raw: Raw, backup: Backup) -> None:
    with raw.store.receive(backup.id) as incoming:
        assert incoming.folder.stat().st_mode & 0o777 == 0o700
        incoming.stream("cluster.tar", io.BytesIO(b"half"))
        assert raw.store.list_ids() == ()
        with pytest.raises(InvalidInputError, match="there is no backup"):
            raw.store.read(backup.id)

    assert raw.names() == set()


@pytest.mark.parametrize("error", [OSError("disk"), KeyboardInterrupt()])
def test_what_is_unfinished_is_removed_whatever_went_wrong(raw: Raw, backup: Backup, error: BaseException) -> None:
    def fail() -> None:
        with raw.store.receive(backup.id) as incoming:
            (incoming.folder / "half.dat").write_text("half")
            incoming.stream("cluster.tar", io.BytesIO(b"half"))
            raise error

    with pytest.raises(type(error)):
        fail()
    assert raw.names() == set()


def test_a_backup_never_replaces_another_one(raw: Raw, backup: Backup) -> None:
    first = receive(raw.store, backup, "the first")

    with pytest.raises(ToolError, match="nothing was published") as caught:
        receive(raw.store, backup, "the second")

    assert caught.value.hint
    with raw.store.fetch(first) as folder:
        check_files(first, folder)
    assert raw.names() == {backup.id}


def test_the_newest_backup_comes_first_and_strangers_are_none(raw: Raw, backup: Backup) -> None:
    ids = ["20250301T120000Z-shop-aaaaaa", "20250301T120001Z-shop-000000", "20241231T235959Z-shop-ffffff"]
    for one in ids:
        receive(raw.store, replace(backup, id=one, location=one))
    raw.write(f".hidden/{MANIFEST_NAME}", to_json(backup).encode())
    raw.write("lost+found/file", b"not a backup")

    assert raw.store.list_ids() == (ids[1], ids[0], ids[2])
    raw.store.remove_leftovers()
    assert raw.names() == {*ids, ".hidden", "lost+found"}


def test_only_a_backup_of_this_store_can_be_read(raw: Raw, backup: Backup) -> None:
    raw.write(f".hidden/{MANIFEST_NAME}", to_json(backup).encode())

    for name in ("..", "", "a/b", f"{OTHER}/../x", ".hidden", OTHER):
        with pytest.raises(InvalidInputError, match="there is no backup"):
            raw.store.read(name)


def test_a_damaged_or_a_moved_manifest_is_refused(raw: Raw, backup: Backup) -> None:
    published = receive(raw.store, backup)
    for content in (b"", b"{}", b"\xff\xfe", to_json(replace(published, id=OTHER)).encode()):
        raw.write(f"{published.id}/{MANIFEST_NAME}", content)
        with pytest.raises(BackupDamagedError, match=MANIFEST_NAME):
            raw.store.read(published.id)


def test_a_changed_a_lost_and_an_added_file_are_found(raw: Raw, backup: Backup) -> None:
    published = receive(raw.store, backup)
    stored = published.as_stored
    size = next(file.size_bytes for file in stored.files if "toc.dat" in file.path)
    raw.write(f"{published.id}/dump/toc.dat{raw.suffix}", b"0" * size)
    raw.write(f"{published.id}/dump/more.dat", b"?")

    with raw.store.fetch_stored(stored) as folder, pytest.raises(BackupDamagedError) as caught:
        check_files(stored, folder)
    assert f"toc.dat{raw.suffix} has SHA-256" in caught.value.message
    assert "more.dat is not in the manifest" in caught.value.message


def test_a_streamed_file_is_described_with_the_others_and_replaces_none(raw: Raw, backup: Backup) -> None:
    content = b"0123456789" * 4_000_000  # three parts of an object
    with raw.store.receive(backup.id) as incoming:
        (incoming.folder / "z.dat").write_bytes(b"last")
        streamed = incoming.stream("cluster/base.tar", io.BytesIO(content))
        with pytest.raises(ToolError, match="File exists"):
            incoming.stream("cluster/base.tar", io.BytesIO(b"second"))
        described = incoming.publish(replace(backup, files=incoming.describe()))

    assert streamed.size_bytes == len(content)
    assert [one.path for one in described.files] == ["cluster/base.tar", "z.dat"]
    with raw.store.fetch(described) as folder:
        assert describe_files(folder) == described.files


def test_of_a_backup_only_what_is_needed_is_fetched(raw: Raw, backup: Backup) -> None:
    published = receive(raw.store, backup)

    with raw.store.fetch(published, only=("dump/toc.dat", "not/there")) as folder:
        assert (folder / "dump" / "toc.dat").read_text() == "rows"
        assert not (folder / "not").exists()
        if raw.store.work_folder is not None:
            assert [file.path for file in describe_files(folder)] == ["dump/toc.dat"]
    assert folder.exists() == (raw.store.work_folder is None)


def test_a_removed_backup_is_gone_and_the_others_stay(raw: Raw, backup: Backup) -> None:
    receive(raw.store, backup)
    other = receive(raw.store, replace(backup, id=OTHER, location=OTHER))

    raw.store.remove(backup.id)
    raw.store.remove(backup.id)
    raw.store.remove("../../etc")

    assert raw.names() == {other.id}


def test_what_a_killed_run_left_is_removed_and_what_is_being_written_is_not(raw: Raw, backup: Backup) -> None:
    receive(raw.store, backup)
    if isinstance(raw, RawBucket):
        for kind in (".unfinished-", ".removed-"):  # by runs whose lease is over
            raw.write(f"{kind}20250303T120000Z-shop{kind}", b'{"lease_s": 0}')
            raw.write(f"20250303T120000Z-shop{kind}/dump/1.dat", b"half")
        raw.plain.bucket.begin_parts("20250303T120000Z-shop.unfinished-/cluster.tar")
    else:
        raw.write(".unfinished-20250303T120000Z-shop.unfinished-/dump/1.dat", b"half")
        raw.write(".removed-20250303T120000Z-shop.removed-/dump/1.dat", b"half")

    with raw.store.receive(OTHER) as incoming:
        incoming.stream("1.dat", io.BytesIO(b"half"))
        assert set(raw.store.remove_leftovers()) == {
            f"{kind}20250303T120000Z-shop{kind}" for kind in (".unfinished-", ".removed-")
        }
        living = incoming.publish(replace(backup, id=OTHER, location=OTHER, files=incoming.describe()))

    assert raw.store.list_ids() == (OTHER, backup.id)
    assert raw.names() == {OTHER, backup.id}
    with raw.store.fetch(living) as folder:
        check_files(living, folder)
    if isinstance(raw, RawBucket):
        assert list(raw.plain.bucket.unfinished_parts("")) == []


def test_notes_lie_beside_the_manifest_and_are_no_part_of_the_backup(raw: Raw, backup: Backup) -> None:
    published = receive(raw.store, backup)
    raw.store.put_text(f"{notes_of(backup.id)}/a.json", "1")
    raw.store.put_text(f"{notes_of(backup.id)}/a.json", "ü")
    raw.store.put_text("removed/x.json", "3")

    with raw.store.fetch(published) as folder:
        check_files(published, folder)
    assert raw.store.texts(notes_of(backup.id)) == {"a.json": "ü"}
    raw.write("removed/y.json", b"\xff4")
    assert raw.store.texts("removed") == {"x.json": "3", "y.json": "\ufffd4"}  # a damaged one hides no other
    raw.store.remove_text("removed/y.json")
    assert raw.store.list_ids() == (backup.id,)
    assert backup.id in raw.store.list_names()
    if isinstance(raw, RawBucket):
        raw.store.put_text(f".removed-{backup.id}", "")
        assert backup.id not in raw.store.list_names(), "it is being removed"
    raw.store.remove_text("removed/x.json")
    raw.store.remove_text("removed/x.json")
    assert raw.store.texts("removed") == {} == raw.store.texts("nowhere")


def test_small_files_lie_beside_backups_and_are_listed_without_being_read(raw: Raw, backup: Backup) -> None:
    receive(raw.store, backup)
    content = bytes(range(256))
    raw.store.put_bytes("sweeps/shops/2026-11-27/101500-a.parquet", b"former")
    raw.store.put_bytes("sweeps/shops/2026-11-27/101500-a.parquet", content)
    raw.store.put_bytes("sweeps/shops/day.parquet", b"day")
    raw.store.put_bytes("sweeps/shops-eu/b.parquet", b"of another")

    assert raw.store.list_ids() == (backup.id,)
    assert raw.store.list_paths("sweeps/shops") == ("2026-11-27/101500-a.parquet", "day.parquet")
    assert raw.store.read_bytes("sweeps/shops/2026-11-27/101500-a.parquet") == content
    paths = ["sweeps/shops/2026-11-27/101500-a.parquet", "sweeps/shops/never/x", "sweeps/shops/day.parquet"]
    raw.store.remove_files(paths)
    raw.store.remove_files(paths)
    assert raw.store.list_paths("sweeps/shops") == () == raw.store.list_paths("nowhere")
    assert raw.store.read_bytes(paths[0]) is None
    assert raw.store.list_paths("sweeps") == ("shops-eu/b.parquet",)


def test_of_two_who_write_one_small_file_at_once_each_writes_all_of_it(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    contents = [bytes([one]) * 300_000 for one in range(8)]

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda content: [store.put_bytes("a/b", content) for _ in range(20)], contents))

    assert store.read_bytes("a/b") in contents
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
