"""Into the archive and back: once, twice, damaged, foreign, missing."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from squizzle.backups.wal.archive import FolderArchive
from squizzle.backups.wal.transfer import Archived, archive_wal, fetch_wal
from squizzle.cli.main import run
from squizzle.errors import BackupDamagedError, InvalidInputError, RefusedError, ToolError
from tests.support.wal import SEGMENT_BYTES, SYSTEM, segment_bytes, write_segment

ONE = "000000010000000000000001"


@pytest.fixture
def archive(tmp_path: Path) -> FolderArchive:
    return FolderArchive(tmp_path / "store")


def place_of(archive: FolderArchive) -> Path:
    return archive.folder / "wal" / SYSTEM


def put(archive: FolderArchive, path: Path, *, compress: bool = False) -> Archived:
    return archive_wal(archive, path, path.name, system_identifier=SYSTEM, compress=compress)


def get(archive: FolderArchive, name: str, target: Path) -> bool:
    return fetch_wal(archive, name, target, system_identifier=SYSTEM)


@pytest.mark.parametrize("compress", [False, True])
def test_what_is_archived_comes_back_the_same(archive: FolderArchive, tmp_path: Path, *, compress: bool) -> None:
    path = write_segment(tmp_path, 1)

    done = put(archive, path, compress=compress)

    assert done.name == (f"{ONE}.zst" if compress else ONE)
    stored = place_of(archive) / done.name
    digest = hashlib.sha256(stored.read_bytes()).hexdigest()
    assert stored.with_name(f"{done.name}.sha256").read_text() == f"{digest}  {done.name}\n"
    assert stored.stat().st_mode & 0o777 == 0o600
    assert (stored.stat().st_size < SEGMENT_BYTES / 2) is compress
    assert get(archive, ONE, tmp_path / "RECOVERYXLOG")
    assert (tmp_path / "RECOVERYXLOG").read_bytes() == path.read_bytes()
    assert list((place_of(archive) / ".incoming").iterdir()) == []


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("second", [False, True])
def test_the_same_again_is_success_and_another_content_is_refused(
    archive: FolderArchive, tmp_path: Path, *, first: bool, second: bool
) -> None:
    path = write_segment(tmp_path, 1)
    put(archive, path, compress=first)
    before = {one.name: one.read_bytes() for one in place_of(archive).iterdir() if one.is_file()}

    assert put(archive, path, compress=second).was_there
    write_segment(tmp_path, 1, seed="another")
    with pytest.raises(RefusedError, match="has another 000000010000000000000001"):
        put(archive, path, compress=second)

    assert {one.name: one.read_bytes() for one in place_of(archive).iterdir() if one.is_file()} == before


def test_of_two_writers_at_the_same_moment_one_loses(archive: FolderArchive) -> None:
    archive.put_new(SYSTEM, ONE, io.BytesIO(b"first"))

    with pytest.raises(FileExistsError):
        archive.put_new(SYSTEM, ONE, io.BytesIO(b"second"))

    assert (place_of(archive) / ONE).read_bytes() == b"first"


def test_a_hash_that_a_killed_run_did_not_write_is_written_by_the_next(archive: FolderArchive, tmp_path: Path) -> None:
    path = write_segment(tmp_path, 1)
    put(archive, path)
    beside = place_of(archive) / f"{ONE}.sha256"
    before = beside.read_text()
    beside.unlink()

    with pytest.raises(BackupDamagedError, match=f"{ONE} in .* has no hash beside it"):
        get(archive, ONE, tmp_path / "x")
    assert put(archive, path).was_there

    assert beside.read_text() == before


def test_a_hash_of_another_content_is_named(archive: FolderArchive, tmp_path: Path) -> None:
    path = write_segment(tmp_path, 1)
    put(archive, path)
    (place_of(archive) / f"{ONE}.sha256").write_text(f"{'0' * 64}  {ONE}\n")

    with pytest.raises(RefusedError, match="the file beside it says 0000000000000000"):
        put(archive, path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (segment_bytes(1, system="42"), "belongs to the cluster 42, expected 7300000000000000001"),
        (segment_bytes(2), "it begins at 0/200000 and so is 000000010000000000000002"),
        (segment_bytes(1, timeline=2), "written on timeline 2, the name says 1"),
        (segment_bytes(1)[:-1], "it has 1048575 bytes, a whole one has 1048576"),
        (b"\0" * SEGMENT_BYTES, "not a segment of a write-ahead log: its first bytes are 00000000"),
        (b"", "it ends after 0 bytes"),
    ],
)
def test_what_is_no_whole_segment_of_this_cluster_is_refused(
    archive: FolderArchive, tmp_path: Path, content: bytes, problem: str
) -> None:
    path = tmp_path / ONE
    path.write_bytes(content)

    with pytest.raises((RefusedError, BackupDamagedError), match=problem):
        put(archive, path)

    assert archive.clusters() == ()


def test_a_history_a_backup_label_and_a_partial_segment_are_kept_under_their_names(
    archive: FolderArchive, tmp_path: Path
) -> None:
    for name in ("00000002.history", f"{ONE}.00000028.backup", f"{ONE}.partial"):
        path = tmp_path / name
        path.write_bytes(segment_bytes(1) if name.endswith("partial") else name.encode())
        assert put(archive, path, compress=not name.endswith("partial")).name == name
        assert get(archive, name, tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == path.read_bytes()
    assert not get(archive, ONE, tmp_path / "x")
    with pytest.raises(InvalidInputError, match="no name of a file of the write-ahead log"):
        put(archive, tmp_path / "back")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), compress=st.booleans(), beside=st.booleans())
def test_one_flipped_bit_anywhere_is_found(
    tmp_path_factory: pytest.TempPathFactory, *, place: float, bit: int, compress: bool, beside: bool
) -> None:
    folder = tmp_path_factory.mktemp("flip")
    archive = FolderArchive(folder / "store")
    stored = place_of(archive) / put(archive, write_segment(folder, 1), compress=compress).name
    damaged = stored.with_name(stored.name + ".sha256") if beside else stored
    content = bytearray(damaged.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    damaged.write_bytes(content)

    with pytest.raises(BackupDamagedError, match=stored.name):
        get(archive, ONE, folder / "x")

    assert not (folder / "x").exists()
    assert not (folder / "x.fetching").exists()


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("left", [0.0, 0.5, None])
def test_a_cut_or_a_missing_file_is_not_the_end_of_the_log(
    archive: FolderArchive, tmp_path: Path, *, compress: bool, beside: bool, left: float | None
) -> None:
    """The last segment: behind it there is none that would show the hole."""
    stored = place_of(archive) / put(archive, write_segment(tmp_path, 1), compress=compress).name
    victim = stored.with_name(stored.name + ".sha256") if beside else stored
    content = victim.read_bytes()
    victim.unlink()
    if left is not None:
        victim.write_bytes(content[: int(left * len(content))])

    with pytest.raises(BackupDamagedError, match=ONE):
        get(archive, ONE, tmp_path / "x")

    assert not (tmp_path / "x").exists()


def test_the_end_of_the_log_is_told_from_a_hole_and_from_a_store_that_is_not_there(
    archive: FolderArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 3):
        put(archive, write_segment(tmp_path, number), compress=number == 3)
    monkeypatch.chdir(tmp_path)
    common = ["x", "--store", archive.address, "--system-identifier"]

    codes = [
        run(["fetch-wal", name, *common, system])
        for name, system in [
            (ONE, SYSTEM),
            ("000000010000000000000002", SYSTEM),
            ("000000010000000000000004", SYSTEM),
            ("00000002.history", SYSTEM),
            (ONE, "42"),
        ]
    ]

    assert codes == [0, 200, 1, 1, 200]
    said = capsys.readouterr().err
    assert "000000010000000000000002 is missing from" in said
    assert "has no archive of the cluster 42" in said
    # Whatever goes wrong with the command itself must not look like the end of the log either.
    assert run(["fetch-wal", ONE, "x", "--stroe", "y"]) == 200
    assert run(["fetch-wal", ONE, "x", "--store", "s3+x://y"]) == 200
    assert run(["fetch-wal", ONE, "x", "--store", archive.address]) == 200  # this is no data folder
    archive.folder.rename(tmp_path / "elsewhere")
    assert run(["fetch-wal", "000000010000000000000004", *common, SYSTEM]) == 200


def test_a_target_that_cannot_be_written_is_not_the_end_of_the_log(archive: FolderArchive, tmp_path: Path) -> None:
    put(archive, write_segment(tmp_path, 1))
    with pytest.raises(ToolError, match="could not be copied"):
        get(archive, ONE, tmp_path / "missing" / "x")
