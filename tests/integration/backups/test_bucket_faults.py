"""What a store in a bucket does when the network or the service fails: gone through, or nothing published and said so."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from squizzle.backups.files import check_files
from squizzle.backups.records import Backup
from squizzle.backups.s3 import lease, uploads
from squizzle.backups.s3.settings import S3Settings, settings_of
from squizzle.backups.s3.store import S3Store
from squizzle.backups.store import notes_of
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


KEEPING = ("x-amz-storage-class", "x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date")


def test_files_and_the_manifest_are_kept_as_the_address_says_and_marks_and_notes_are_not_locked(
    faults: Faults, s3_endpoint: str, backup: Backup
) -> None:
    place = place_in(make_bucket(s3_endpoint, locked=True), endpoint=faults.endpoint)
    options = "storage_class=STANDARD_IA&sse=AES256&lock_mode=COMPLIANCE&lock_days=3"
    said = settings_of(f"s3://{place.bucket}/{place.prefix}?{options}")
    kept = {name: getattr(said, name) for name in ("storage_class", "sse", "lock_mode", "lock_days")}
    store = S3Store(replace(place, **kept))
    faults.plan(Fault.ERROR_500, "NOTHING", "", times=0)
    before = datetime.now(UTC)

    receive(store, backup)
    store.put_text(f"{notes_of(backup.id)}/a.json", "1")

    # The lock and the class of an object in parts are those it was begun with.
    begun = [(path, asked) for way, path, asked in faults.seen if way in {"PUT", "POST"} and "uploadId" not in path]
    files = [
        asked for path, asked in begun if ".unfinished-" not in path and "/notes/" not in path and "delete" not in path
    ]
    assert len(files) == 3  # the stream, the file, the manifest
    for asked in files:
        assert [asked[name] for name in KEEPING[:2]] == ["STANDARD_IA", "COMPLIANCE"]
        until = datetime.fromisoformat(asked[KEEPING[2]])
        assert timedelta(0) <= until - before - timedelta(days=3) + timedelta(seconds=1) < timedelta(hours=1)
    others = [asked for path, asked in begun if ".unfinished-" in path or "/notes/" in path]
    assert len(others) >= 3  # the mark, renewed before the manifest, and the note
    assert not [name for asked in others for name in KEEPING if name in asked]
    assert all(asked["x-amz-server-side-encryption"] == "AES256" for asked in (*files, *others))


def test_the_key_of_kms_goes_with_every_write(faults: Faults, bucket: S3Settings) -> None:
    store = S3Store(place_in(bucket, endpoint=faults.endpoint, sse="aws:kms", kms_key_id="alias/backups", attempts=1))
    faults.plan(Fault.EXPIRED, "PUT", "", times=1000)

    for write in (lambda: store.bucket.put("a", b"1", is_file=True), lambda: store.put_text("b", "1")):
        with pytest.raises(ToolError, match="credentials expired"):
            write()
    for _, _, asked in faults.seen:
        assert asked["x-amz-server-side-encryption"] == "aws:kms"
        assert asked["x-amz-server-side-encryption-aws-kms-key-id"] == "alias/backups"


def test_what_is_not_ours_is_never_cleaned_away(
    bucket: S3Settings, backup: Backup, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = S3Store(place_in(bucket))
    beside = S3Store(replace(store.bucket.settings, prefix=f"{store.bucket.settings.prefix}-2"))
    dead = "20250303T120000Z-shop-abcdef"
    strangers = {f"{dead}-2/1.dat", f"{backup.id}.txt", "logs/1.gz", "20240101T000000Z-hand-made/dump.sql"}
    # Named as marks are, and none: nobody of us wrote them, or they name nothing of ours.
    strangers |= {".unfinished-logs", ".removed-20240101T000000Z-hand-made", ".unfinished-", ".unfinished-../x"}
    for path in strangers:
        store.put_text(path, "not yours" if path != ".unfinished-../x" else '{"lease_s": 0}')
    beside.put_text(f"{dead}/1.dat", "not yours")
    store.bucket.begin_parts("logs/2.gz")
    store.put_text(f".unfinished-{dead}", '{"lease_s": 0}')
    store.put_text(f"{dead}/1.dat", "ours")

    listed = store.bucket.list
    old = timedelta(days=1)
    monkeypatch.setattr(store.bucket, "list", lambda path: (replace(held, age=old) for held in listed(path)))
    store.remove_leftovers()
    with store.receive(backup.id) as incoming:  # given up
        incoming.stream("1.dat", io.BytesIO(b"half"))
    store.remove(receive(store, backup).id)

    assert paths_in(store) == strangers
    assert paths_in(beside) == {f"{dead}/1.dat"}
    assert [path for path, _ in store.bucket.unfinished_parts("")] == ["logs/2.gz"]


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
