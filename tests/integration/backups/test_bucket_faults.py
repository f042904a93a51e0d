"""What a store in a bucket does when the network or the service fails: gone through, or nothing published and said so."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from squizzle.backups.files import check_files
from squizzle.backups.records import Backup
from squizzle.backups.s3 import lease, uploads
from squizzle.backups.s3.settings import S3Settings
from squizzle.backups.s3.store import S3Store
from squizzle.errors import ToolError
from tests.support.buckets import make_bucket, paths_in, place_in
from tests.support.faulty import Fault, Faults, faulty
from tests.support.seaweed import SECRET_KEY

# The smallest part that S3 takes, so that 19 faults take seconds.
PART = 5 << 20
CONTENT = bytes(range(256)) * (PART // 256) + b"the second part"


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "_GROWS_AFTER", ((uploads.MOST_PARTS, PART),))


@pytest.fixture(scope="module")
def faults(s3_endpoint: str) -> Iterator[Faults]:
    with faulty(s3_endpoint) as running:
        yield running


@pytest.fixture(scope="module")
def broken(faults: Faults, bucket: S3Settings) -> S3Store:
    """A store behind the proxy; every test leaves it empty."""
    return S3Store(place_in(bucket, endpoint=faults.endpoint, read_timeout_s=3))


def receive(store: S3Store, backup: Backup) -> Backup:
    with store.receive(backup.id) as incoming:
        (incoming.folder / "toc.dat").write_bytes(b"small")
        incoming.stream("cluster.tar", io.BytesIO(CONTENT))
        described = replace(backup, files=incoming.describe())
        incoming.publish(described)
    return described


@pytest.mark.parametrize(
    ("fault", "method", "holding"),
    [
        (Fault.ERROR_500, "PUT", "partNumber=1"),
        (Fault.SLOW_DOWN, "PUT", "toc.dat"),
        (Fault.SILENCE, "PUT", "partNumber=2"),
        (Fault.DAMAGED_BODY, "PUT", "partNumber=1"),
        (Fault.RESET, "PUT", "manifest.json"),
        (Fault.LOST_ANSWER, "PUT", "manifest.json"),
        (Fault.LOST_ANSWER, "PUT", "toc.dat"),
        (Fault.LOST_ANSWER, "POST", "uploadId"),
        (Fault.LOST_ANSWER, "PUT", ".unfinished-"),
        (Fault.OTHER_CHECKSUM, "PUT", "manifest.json"),
        (Fault.TORN_ANSWER, "GET", "cluster.tar"),
        (Fault.TORN_ANSWER, "GET", "manifest.json"),
    ],
)
def test_what_fails_once_is_gone_through(
    broken: S3Store, faults: Faults, backup: Backup, fault: Fault, method: str, holding: str
) -> None:
    faults.plan(fault, method, holding, times=1)

    published = receive(broken, backup)

    with broken.fetch(broken.read(published.id)) as folder:
        check_files(published, folder)
    assert faults.met == 1
    broken.remove(published.id)
    assert paths_in(broken) == set()


@pytest.mark.parametrize(
    ("fault", "method", "holding", "said"),
    [
        (Fault.SLOW_DOWN, "PUT", "partNumber=2", "stayed busy"),
        (Fault.RESET, "PUT", "toc.dat", "cannot be reached"),
        (Fault.DAMAGED_BODY, "PUT", "partNumber=1", "what arrived is not what was sent"),
        (Fault.OTHER_CHECKSUM, "PUT", "partNumber=1", "answered another SHA-256"),
        (Fault.EXPIRED, "PUT", "manifest.json", "credentials expired"),
    ],
)
def test_what_stays_broken_publishes_nothing_and_says_what_to_do(
    broken: S3Store, faults: Faults, backup: Backup, fault: Fault, method: str, holding: str, said: str
) -> None:
    faults.plan(fault, method, holding, times=1000)

    with pytest.raises(ToolError, match=said) as caught:
        receive(broken, backup)

    assert "nothing was published" in caught.value.message
    assert caught.value.hint
    assert SECRET_KEY not in f"{caught.value.message}{caught.value.hint}"
    assert broken.list_ids() == ()
    assert paths_in(broken) == set()
    assert list(broken.bucket.unfinished_parts("")) == []


def test_a_writer_that_was_taken_for_dead_publishes_nothing(bucket: S3Settings, backup: Backup) -> None:
    store = S3Store(place_in(bucket))

    def write() -> None:
        with store.receive(backup.id) as incoming:
            incoming.stream("1.dat", io.BytesIO(b"rows"))
            [held] = store.bucket.list(lease.UNFINISHED)
            old = replace(held, age=timedelta(hours=1))
            assert lease.take_over(store.bucket, old)
            assert not lease.take_over(store.bucket, old)
            incoming.publish(replace(backup, files=incoming.describe()))

    with pytest.raises(ToolError, match="cleaned away"):
        write()
    assert store.list_ids() == ()


def test_a_locked_backup_is_not_removed(s3_endpoint: str, backup: Backup) -> None:
    store = S3Store(replace(make_bucket(s3_endpoint, locked=True), lock_mode="GOVERNANCE", lock_days=3))
    published = receive(store, backup)

    with pytest.raises(ToolError, match=r"is locked until \d{4}-"):
        store.remove(published.id)

    assert store.list_ids() == (published.id,)


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"secret_key": "wrong"}, "secret does not fit"), ({"bucket": "nobodys"}, "no such bucket")],
)
def test_a_bucket_that_cannot_be_used_is_named_with_the_next_step(
    bucket: S3Settings, changes: dict[str, str], said: str
) -> None:
    with pytest.raises(ToolError, match=said) as caught:
        S3Store(replace(bucket, **changes)).list_ids()
    assert caught.value.hint
