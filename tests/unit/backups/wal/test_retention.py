"""What may go of the log beside the backups that go: never what a copy that stays is brought forward with."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from squizzle.backups.catalogue import Pruning
from squizzle.backups.folder_store import FolderStore
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.retention import Choice
from squizzle.backups.wal.archive import FolderArchive
from squizzle.backups.wal.check import check_cluster
from squizzle.backups.wal.names import lsn_text, segment_name
from squizzle.backups.wal.retention import LogPruning, carry_out_log_pruning, plan_log_pruning
from squizzle.backups.wal.transfer import archive_wal
from squizzle.cli.main import run
from tests.support.wal import SEGMENT_BYTES, SYSTEM, write_segment

Copy = Callable[..., Backup]


@pytest.fixture
def archive(tmp_path: Path) -> FolderArchive:
    """Timeline 1 from 2 to 9, left within 6 by timeline 2, which goes to 8; timeline 3 left 2 within 7."""
    found = FolderArchive(tmp_path / "store")

    def put(path: Path, *, compress: bool = False) -> None:
        archive_wal(found, path, path.name, system_identifier=SYSTEM, compress=compress)

    for timeline, numbers in ((1, range(2, 10)), (2, range(6, 9)), (3, range(7, 9))):
        for number in numbers:
            put(write_segment(tmp_path, number, timeline=timeline), compress=number == 4)
    for timeline, forks in ((2, ((1, 6),)), (3, ((1, 6), (2, 7)))):
        history = tmp_path / f"{timeline:08X}.history"
        history.write_text("".join(f"{one}\t{lsn_text(at * SEGMENT_BYTES + 99)}\tpromoted\n" for one, at in forks))
        put(history)
    return found


@pytest.fixture
def copy(backup: Backup) -> Copy:
    """A copy of the cluster that begins within a segment."""

    def make(number: int, timeline: int = 1, **changes: object) -> Backup:
        begun = lsn_text(number * SEGMENT_BYTES + 40)
        of = {"kind": BackupKind.PHYSICAL, "id": f"of-{number}-{timeline}", "lsn": begun, "timeline": timeline}
        return replace(backup, **{**of, **changes})  # type: ignore[arg-type]

    return make


def plan(archive: FolderArchive, *stay: Backup, go: tuple[Backup, ...] = (), **changes: object) -> LogPruning:
    choices = (*(Choice(backup=one, reasons=("x",)) for one in stay), *(Choice(backup=one, reasons=()) for one in go))
    pruning = Pruning(choices=choices, problems=(), **changes)  # type: ignore[arg-type]
    (found,) = plan_log_pruning(archive, pruning)
    return found


def of(timeline: int, *numbers: int) -> set[str]:
    return {segment_name(timeline, number, SEGMENT_BYTES) for number in numbers}


def segments(found: LogPruning) -> set[str]:
    return {name.removesuffix(".zst") for name in found.names if not name.endswith(".sha256")}


def test_what_is_older_than_the_oldest_copy_goes_by_timeline(archive: FolderArchive, copy: Copy) -> None:
    found = plan(archive, copy(4), copy(8, 2), go=(copy(2),))

    assert segments(found) == of(1, 2, 3)
    assert (found.segments, found.needed_by) == (2, "of-4-1")
    assert found.needed_from is not None
    assert found.needed_from[1] == segment_name(1, 4, SEGMENT_BYTES)
    assert found.size_bytes > 2 * SEGMENT_BYTES
    # When all copies are of the newer timeline, what was before it is needed by nobody.
    assert segments(plan(archive, copy(7, 2))) == of(1, *range(2, 10)) | of(2, 6)
    # One that could not be removed is still there, and so is a mark's way.
    assert segments(plan(archive, copy(5), go=(copy(3),), refused={"of-3-1": "locked"})) == of(1, 2)
    assert segments(plan(archive, copy(5), copy(3, kind=BackupKind.MARK))) == of(1, 2)
    # A dump is brought forward by no log.
    assert segments(plan(archive, copy(5), copy(3, kind=BackupKind.FULL))) == of(1, 2, 3, 4)


@pytest.mark.parametrize(
    ("stay", "why_not"),
    [
        ([], "holds no copy of this cluster"),
        ([{"system_identifier": "42"}], "holds no copy of this cluster"),
        ([{}, {"system_identifier": ""}], "does not say of which cluster"),
        ([{}, {"timeline": None}], "does not say where in the log it begins"),
        ([{}, {"lsn": ""}], "does not say where in the log it begins"),
    ],
)
def test_nothing_goes_when_nobody_can_tell(
    archive: FolderArchive, copy: Copy, stay: list[dict[str, object]], why_not: str
) -> None:
    found = plan(archive, *(copy(5, **changes) for changes in stay))

    assert (found.names, why_not in found.why_not) == ((), True), found.why_not


def test_nothing_goes_without_a_history_or_with_a_problem_of_the_store(archive: FolderArchive, copy: Copy) -> None:
    choices = (Choice(backup=copy(5), reasons=("x",)),)
    (found,) = plan_log_pruning(archive, Pruning(choices=choices, problems=("backup 7 is gone",)))
    assert (found.names, found.why_not) == ((), "the store has a problem: backup 7 is gone")
    (archive.folder / "wal" / SYSTEM / "00000002.history").unlink()

    found = plan(archive, copy(5))

    assert found.names == ()
    assert "00000002.history is missing or damaged" in found.why_not


def test_killed_at_any_file_what_is_left_has_no_hole(archive: FolderArchive, copy: Copy) -> None:
    found = plan(archive, copy(5))
    for name in found.names:
        archive.remove(SYSTEM, [name])
        gone = {f"{name}.sha256 is there without its segment, which was removed"}
        assert set(check_cluster(archive, SYSTEM).problems) <= gone
    assert check_cluster(archive, SYSTEM, read=True).problems == ()
    assert carry_out_log_pruning(archive, [plan(archive, copy(5))])[0].removed is False


def test_the_verb_shows_first_and_removes_with_yes(
    archive: FolderArchive, copy: Copy, capsys: pytest.CaptureFixture[str]
) -> None:
    store = FolderStore(archive.folder)
    for days, number in ((60, 3), (30, 5), (0, 8)):
        made = copy(number, started_at=datetime.now(UTC) - timedelta(days=days))
        with store.receive(made.id) as incoming:
            incoming.publish(replace(made, files=()))
    prune = ["backups", "prune", "--store", str(archive.folder), "--keep-daily", "2", "--keep-weekly", "0"]
    prune += ["--keep-monthly", "0"]

    assert run(prune) == 0
    assert f"log of cluster {SYSTEM}: 3 segments, 2.1 MB would go; of-5-1 needs the rest" in capsys.readouterr().out
    assert len(store.list_ids()) == 3

    assert run([*prune, "--yes", "--json"]) == 0

    document = json.loads(capsys.readouterr().out)
    assert document["removed"] == ["of-3-1"]
    (log,) = document["log"]
    assert (log["segments"], log["removed"], log["why_not"]) == (3, True, None)
    assert log["needed_from"] == {str(one): segment_name(one, 5, SEGMENT_BYTES) for one in (1, 2, 3)}
    assert check_cluster(archive, SYSTEM).timelines[0].runs[0].first == segment_name(1, 5, SEGMENT_BYTES)
