"""An archive that is whole says nothing; whatever is missing, damaged or foreign is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from squizzle.backups.wal.archive import FolderArchive
from squizzle.backups.wal.check import ClusterArchive, check_cluster
from squizzle.backups.wal.names import lsn_number, lsn_text, parse_name, segment_name
from squizzle.backups.wal.transfer import archive_wal
from squizzle.cli.main import run
from tests.support.wal import SEGMENT_BYTES, SYSTEM, segment_bytes, write_segment

MB = SEGMENT_BYTES


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Timeline 1 from 4094 to 4100, left within 4099 by timeline 2, which goes on to 4102."""
    tmp_path = tmp_path_factory.mktemp("whole")
    archive = FolderArchive(tmp_path / "store")

    def put(path: Path, *, compress: bool = False) -> None:
        archive_wal(archive, path, path.name, system_identifier=SYSTEM, compress=compress)

    for number in range(4094, 4101):
        put(write_segment(tmp_path, number), compress=number % 2 == 0)
    history = tmp_path / "00000002.history"
    history.write_text(f"1\t{lsn_text(4099 * MB + 4711)}\tno recovery target specified\n")
    put(history)
    for number in range(4099, 4103):
        put(write_segment(tmp_path, number, timeline=2))
    return archive.folder


@pytest.fixture
def archive(whole: Path, tmp_path: Path) -> FolderArchive:
    """A copy of it to damage."""
    shutil.copytree(whole, tmp_path / "store")
    return FolderArchive(tmp_path / "store")


def place_of(archive: FolderArchive) -> Path:
    return archive.folder / "wal" / SYSTEM


def check(archive: FolderArchive, *, read: bool = True) -> ClusterArchive:
    return check_cluster(archive, SYSTEM, read=read)


def test_a_whole_archive_has_no_problems_across_a_fork_and_a_border_of_four_gigabytes(archive: FolderArchive) -> None:
    found = check(archive)

    assert found.problems == ()
    assert found.segment_bytes == MB
    first, second = found.timelines
    assert (first.number, first.parent, first.fork_lsn) == (1, None, None)
    assert (second.number, second.parent, second.fork_lsn) == (2, 1, lsn_text(4099 * MB + 4711))
    (run_of_first,) = first.runs
    assert (run_of_first.first, run_of_first.last) == ("000000010000000000000FFE", "000000010000000100000004")
    assert (run_of_first.from_lsn, run_of_first.to_lsn, run_of_first.segments) == ("0/FFE00000", "1/500000", 7)
    assert run_of_first.from_time <= run_of_first.to_time


def remove(*names: str) -> Callable[[Path], None]:
    def change(place: Path) -> None:
        for name in names:
            for suffix in ("", ".sha256"):
                (place / f"{name}{suffix}").unlink()

    return change


def put_in(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda place: place.joinpath(name).write_bytes(content) and None


def flip(name: str) -> Callable[[Path], None]:
    def change(place: Path) -> None:
        content = bytearray((place / name).read_bytes())
        content[-1] ^= 1
        (place / name).write_bytes(content)

    return change


BY_NAMES = {
    "one segment": (remove("000000010000000000000FFF"), ["000000010000000000000FFF is missing"]),
    "across the border": (
        remove("000000010000000000000FFF", "000000010000000100000000.zst"),
        ["000000010000000000000FFF to 000000010000000100000000 are missing (2 segments)"],
    ),
    "the segment of the fork": (remove("000000020000000100000003"), ["000000020000000100000003 is missing"]),
    "the parent's last before the fork": (
        remove("000000010000000100000002.zst", "000000010000000100000003", "000000010000000100000004.zst"),
        ["000000010000000100000002 is missing"],
    ),
    "the parent's own end": (remove("000000010000000100000003", "000000010000000100000004.zst"), []),
    "the history": (
        remove("00000002.history"),
        ["00000002.history is missing or damaged, so nothing can be recovered to it"],
    ),
    "a hash": (
        lambda place: (place / "000000020000000100000003.sha256").unlink(),
        ["000000020000000100000003 has no hash: its archiving was not finished, or the hash was removed"],
    ),
    "cut": (
        put_in("000000020000000100000003", segment_bytes(4099, timeline=2)[:-5]),
        ["000000020000000100000003 has 1048571 bytes, a whole one has 1048576"],
    ),
    "something else": (
        put_in("core", b"x"),
        ["core is no file of a write-ahead log; move it away", "core has no hash"][:1],
    ),
    "twice": (
        lambda place: (
            [
                place.joinpath("000000020000000100000003" + end).write_bytes(
                    place.joinpath("000000010000000100000004.zst" + end.removeprefix(".zst")).read_bytes()
                )
                for end in (".zst", ".zst.sha256")
            ]
            and None
        ),
        ["000000020000000100000003 is there twice, plain and compressed; the plain one is used"],
    ),
}


@pytest.mark.parametrize("case", BY_NAMES, ids=str)
def test_what_names_and_lengths_show_is_named(archive: FolderArchive, case: str) -> None:
    change, problems = BY_NAMES[case]
    change(place_of(archive))

    assert list(check(archive, read=False).problems) == problems


BY_CONTENT = {
    "plain": (flip("000000020000000100000003"), "000000020000000100000003 is damaged: it has SHA-256"),
    "compressed": (flip("000000010000000100000004.zst"), "000000010000000100000004.zst"),
    "history": (flip("00000002.history"), "00000002.history is damaged"),
    "hash": (flip("00000002.history.sha256"), "00000002.history.sha256 in .* is damaged"),
}


@pytest.mark.parametrize("case", BY_CONTENT, ids=str)
def test_what_only_reading_shows_is_named(archive: FolderArchive, case: str) -> None:
    change, problem = BY_CONTENT[case]
    change(place_of(archive))

    assert check(archive, read=False).problems == ()
    (found,) = check(archive).problems
    assert found.startswith(problem.partition(" in .* ")[0])


def test_a_segment_of_another_cluster_with_a_right_hash_is_named(archive: FolderArchive, tmp_path: Path) -> None:
    foreign = tmp_path / "000000020000000100000007"
    foreign.write_bytes(segment_bytes(4103, timeline=2, system="42"))
    archive_wal(archive, foreign, foreign.name, system_identifier="42")
    for path in (archive.folder / "wal" / "42").glob("0*"):
        path.rename(place_of(archive) / path.name)

    assert check(archive).problems == (f"{foreign.name}: it belongs to the cluster 42, expected {SYSTEM}",)


def test_the_verb_prints_what_it_found(archive: FolderArchive, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["wal", "--store", archive.address]) == 0
    assert "no gaps; --check reads every file, too" in capsys.readouterr().out
    remove("000000010000000000000FFF")(place_of(archive))

    assert run(["wal", "--store", archive.address, "--check", "--json"]) == 7

    document = json.loads(capsys.readouterr().out)
    assert document["server"] is None
    (found,) = document["archives"]
    assert (found["system_identifier"], found["read"]) == (SYSTEM, True)
    assert found["problems"] == ["000000010000000000000FFF is missing"]
    assert [one["first"] for one in found["timelines"][0]["runs"]] == [
        "000000010000000000000FFE",
        "000000010000000100000000",
    ]
    assert run(["wal", "--store", str(archive.folder / "nothing")]) == 2


@pytest.mark.parametrize("size", [1 << 20, 16 << 20, 1 << 30])
def test_names_and_numbers_of_segments_agree(size: int) -> None:
    for position in ("0/0", "0/40000000", "1/0", "FF/C0000000"):
        number = (lsn_number(position) or 0) // size
        assert parse_name(segment_name(7, number, size)).number(size) == number
    assert lsn_number("0-1") is None
