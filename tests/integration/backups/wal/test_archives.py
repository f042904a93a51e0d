"""One contract for every archive of the log: a folder, and a bucket of a real S3 server."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from squizzle.backups.s3.bucket import Bucket
from squizzle.backups.wal.archive import FolderArchive, WalArchive
from squizzle.backups.wal.bucket_archive import BucketArchive
from squizzle.backups.wal.check import check_cluster
from squizzle.backups.wal.transfer import archive_wal, fetch_wal
from squizzle.errors import BackupDamagedError, RefusedError, ToolError
from tests.support.buckets import make_bucket, place_in
from tests.support.wal import SYSTEM, write_segment


@pytest.fixture(params=["folder", "bucket"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> WalArchive:
    if request.param == "folder":
        return FolderArchive(tmp_path / "store")
    return BucketArchive(Bucket(place_in(request.getfixturevalue("bucket"))))


def test_what_is_archived_comes_back_is_never_replaced_and_can_be_removed(archive: WalArchive, tmp_path: Path) -> None:
    begin = datetime.now(UTC)
    assert (archive.clusters(), archive.files(SYSTEM)) == ((), ())
    paths = [write_segment(tmp_path, number) for number in (1, 2, 3)]
    for path in paths:
        archive_wal(archive, path, path.name, system_identifier=SYSTEM, compress=path == paths[1])
    names = [path.name for path in paths]

    assert archive.clusters() == (SYSTEM,)
    assert [one.name for one in archive.files(SYSTEM, names[1])] == [f"{names[1]}.zst", f"{names[1]}.zst.sha256"]
    assert all(abs(one.stored_at - begin) < timedelta(minutes=5) for one in archive.files(SYSTEM))
    assert check_cluster(archive, SYSTEM, read=True).problems == ()
    for path in paths:
        assert fetch_wal(archive, path.name, tmp_path / "fetched", system_identifier=SYSTEM)
        assert (tmp_path / "fetched").read_bytes() == path.read_bytes()
    assert not fetch_wal(archive, "000000010000000000000004", tmp_path / "fetched", system_identifier=SYSTEM)

    assert archive_wal(archive, paths[0], names[0], system_identifier=SYSTEM).was_there
    write_segment(tmp_path, 1, seed="another")
    with pytest.raises(RefusedError, match=f"has another {names[0]}"):
        archive_wal(archive, paths[0], names[0], system_identifier=SYSTEM)
    with pytest.raises(FileExistsError):
        archive.put_new(SYSTEM, names[0], io.BytesIO(b"another"))

    archive.remove(SYSTEM, [f"{names[1]}.zst", f"{names[1]}.zst.sha256", "not there"])
    assert check_cluster(archive, SYSTEM).problems == (f"{names[1]} is missing",)
    with pytest.raises(BackupDamagedError, match=f"{names[1]} is missing from .*, which has {names[2]} after it"):
        fetch_wal(archive, names[1], tmp_path / "fetched", system_identifier=SYSTEM)


def test_a_segment_under_a_lock_is_not_removed(s3_endpoint: str, tmp_path: Path) -> None:
    settings = place_in(make_bucket(s3_endpoint, locked=True), lock_mode="GOVERNANCE", lock_days=1)
    archive = BucketArchive(Bucket(settings))
    path = write_segment(tmp_path, 1)
    archive_wal(archive, path, path.name, system_identifier=SYSTEM)

    with pytest.raises(ToolError, match=r"2 of 2 files of the log in .* are locked, .* none of them was removed"):
        archive.remove(SYSTEM, [path.name, f"{path.name}.sha256"])

    assert len(archive.files(SYSTEM)) == 2
