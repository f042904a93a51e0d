"""A run that is killed while it sends a backup that was whole: the next one sends the rest, and only the rest."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest

from squizzle.backups.encryption.store import ENCRYPTED, EncryptedStore
from squizzle.backups.files import check_files
from squizzle.backups.manifest import to_json
from squizzle.backups.records import Backup
from squizzle.backups.s3 import uploads
from squizzle.backups.s3.settings import S3Settings
from squizzle.backups.s3.store import S3Store
from squizzle.backups.store import BackupStore
from squizzle.backups.work_folder import PUBLISHING
from tests.support.buckets import paths_in, place_in
from tests.support.faulty import Fault, Faults, faulty
from tests.support.keys import random_key, ring_of
from tests.support.processes import wait_until

PART = 5 << 20
# Publishes a backup of a large file, two small ones and a stream; never ends when the bucket does not answer.
WRITER = """
import io, json, sys
from dataclasses import replace
from squizzle.backups.manifest import from_json
from squizzle.backups.s3 import uploads
from squizzle.backups.s3.settings import S3Settings
from squizzle.backups.s3.store import S3Store
from squizzle.backups.encryption.store import EncryptedStore
from tests.support.keys import ring_of
settings, manifest, key = json.load(sys.stdin)
uploads._GROWS_AFTER = ((uploads.MOST_PARTS, 5 << 20),)
backup = from_json(manifest, source="the test")
store = S3Store(S3Settings(**settings))
with (EncryptedStore(store, ring_of(key)) if key else store).receive(backup.id) as incoming:
    (incoming.folder / "dump").mkdir()
    for name in ("a", "z"):
        (incoming.folder / "dump" / name).write_text(name)
    (incoming.folder / "dump" / "large").write_bytes(bytes(range(256)) * (3 * (5 << 20) // 256) + b"end")
    incoming.stream("wal.zst", io.BytesIO(b"log"))
    incoming.publish(replace(backup, files=incoming.describe()))
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder of our own, with parts as small as S3 takes them."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(uploads, "_GROWS_AFTER", ((uploads.MOST_PARTS, PART),))
    return tmp_path


@pytest.fixture(scope="module")
def faults(s3_endpoint: str) -> Iterator[Faults]:
    with faulty(s3_endpoint) as running:
        yield running


@contextmanager
def writing(settings: S3Settings, backup: Backup, key: str) -> Iterator[subprocess.Popen[str]]:
    """A run that publishes, killed at the end of the block."""
    with subprocess.Popen([sys.executable, "-c", WRITER], stdin=subprocess.PIPE, text=True) as writer:
        try:
            assert writer.stdin is not None
            writer.stdin.write(json.dumps([asdict(settings), to_json(backup), key]))
            writer.stdin.close()
            yield writer
        finally:
            writer.kill()


@pytest.fixture
def place(bucket: S3Settings, faults: Faults) -> S3Settings:
    return place_in(bucket, endpoint=faults.endpoint, read_timeout_s=60)


def kill_in_the_middle(place: S3Settings, backup: Backup, faults: Faults, key: str = "") -> S3Store:
    """Two parts of four arrive, the third never does; then the run is killed."""
    store = S3Store(place)
    large = f"{backup.id}/dump/large{ENCRYPTED if key else ''}"
    faults.plan(Fault.SILENCE, "PUT", "partNumber=3", times=1)
    with writing(place, backup, key) as writer:

        def there() -> bool:
            assert writer.poll() is None
            found = store.bucket.parts_of(large)
            return faults.met == 1 and found is not None and {1, 2} <= set(found[1])

        wait_until(there, "two parts are there", seconds=60)
    assert store.list_ids() == ()
    faults.plan(Fault.RESET, "NOTHING", "", times=0)
    return store


@pytest.mark.parametrize("key", ["", random_key()], ids=["plain", "encrypted"])
def test_the_next_run_sends_the_rest_and_only_the_rest(
    place: S3Settings, backup: Backup, faults: Faults, here: Path, key: str
) -> None:
    bucket = kill_in_the_middle(place, backup, faults, key)
    store: BackupStore = EncryptedStore(bucket, ring_of(key)) if key else bucket

    store.remove_leftovers()

    assert store.list_ids() == (backup.id,)
    found = store.read(backup.id)
    assert [file.path for file in found.files] == ["dump/a", "dump/large", "dump/z", "wal.zst"]
    with store.fetch(found) as folder:
        check_files(found, folder)
    sent = {
        path.partition("partNumber=")[2][:1] for way, path, _ in faults.seen if way == "PUT" and "partNumber" in path
    }
    assert "1" not in sent
    assert "2" not in sent
    assert "3" in sent
    assert paths_in(bucket) == {
        f"{backup.id}/{name}" for name in ("manifest.json", *(file.path for file in found.as_stored.files))
    }
    assert list(bucket.bucket.unfinished_parts("")) == []
    assert list(here.iterdir()) == []


def test_what_was_changed_here_or_cleaned_meanwhile_is_not_published(
    place: S3Settings, backup: Backup, faults: Faults, here: Path
) -> None:
    store = kill_in_the_middle(place, backup, faults)
    [work] = here.iterdir()
    shutil.copytree(work, aside := here / "aside")
    with (work / "files" / "dump" / "large").open("r+b") as file:
        file.seek(-1, os.SEEK_END)  # in the part that was not sent: only the manifest knows it
        file.write(b"D")

    assert store.remove_leftovers() == (work.name, f".unfinished-{backup.id}")
    assert store.list_ids() == ()
    assert paths_in(store) == set()

    aside.rename(work)  # as if another machine had cleaned the bucket before we came
    assert store.remove_leftovers() == (work.name,)
    assert store.list_ids() == ()
    assert paths_in(store) == set()


def test_a_store_leaves_alone_what_goes_to_another_one(bucket: S3Settings, here: Path) -> None:
    work = here / "squizzle-work-1"
    (work / "files").mkdir(parents=True)
    (work / PUBLISHING).write_text("{}")

    assert S3Store(place_in(bucket)).remove_leftovers() == ()
    assert work.exists()
    os.utime(work / PUBLISHING, (0, 0))  # nobody came for a day
    assert S3Store(place_in(bucket)).remove_leftovers() == (work.name,)
