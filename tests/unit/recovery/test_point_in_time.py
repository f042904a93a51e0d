"""Which copy leads to a point, and whether the archived log reaches it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from squizzle.backups.catalogue import Entry
from squizzle.backups.notes import Notes
from squizzle.backups.proofs import Proof, ProofKind, Verdict
from squizzle.backups.records import SIZE_DETAIL, Backup, BackupKind
from squizzle.backups.wal.archive import FolderArchive
from squizzle.backups.wal.check import ClusterArchive, check_cluster
from squizzle.backups.wal.transfer import archive_wal
from squizzle.errors import BackupDamagedError, CouldNotVerifyError, InvalidInputError, RefusedError
from squizzle.postgres.embedded import find_runtime
from squizzle.recovery.cluster_folder import refuse_without_room
from squizzle.recovery.point_in_time.choosing import choose_copy, known_point, point_of_mark, refuse_unfit_copy
from squizzle.recovery.point_in_time.reach import lineage_of, reach_of, refuse_out_of_reach
from squizzle.recovery.point_in_time.records import Point
from squizzle.recovery.point_in_time.recovering import runtime_for
from squizzle.recovery.recovery_target import RecoveryTarget, TargetKind, parse_target
from tests.support.wal import SYSTEM, write_segment

NOON = datetime(2027, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def copy(backup: Backup) -> Backup:
    """A copy of the cluster that is whole at 12:10, at the beginning of the third megabyte."""
    return replace(
        backup,
        id="noon",
        kind=BackupKind.PHYSICAL,
        started_at=NOON,
        duration=timedelta(minutes=10),
        system_identifier=SYSTEM,
        timeline=1,
        lsn="0/200000",
        stop_lsn="0/300000",
        digest_lsn="",
    )


@pytest.fixture
def mark(copy: Backup) -> Backup:
    details = {"restore_point": "before-0042"}
    return replace(copy, id="mark", kind=BackupKind.MARK, lsn="0/480000", details=details)


def entry(backup: Backup, *, verdict: Verdict = Verdict.PASS, problems: tuple[str, ...] = ()) -> Entry:
    proof = Proof(
        backup_id=backup.id,
        kind=ProofKind.RESTORE,
        verdict=verdict,
        at=NOON,
        duration=timedelta(seconds=1),
        by="test",
        sentences=(),
        details={},
    )
    return Entry(id=backup.id, backup=backup, notes=Notes(proofs=(proof,)), problems=problems)


def target(**asked: str) -> RecoveryTarget:
    found = parse_target(**asked)  # type: ignore[arg-type]
    assert found is not None
    return found


def test_the_newest_copy_that_ends_before_the_point_is_taken(copy: Backup, mark: Backup) -> None:
    late = replace(copy, id="late", started_at=NOON + timedelta(hours=1), stop_lsn="0/500000")
    doubted = replace(copy, id="doubted", stop_lsn="0/400000")
    gone = replace(copy, id="gone", stop_lsn="0/410000")
    foreign = replace(copy, id="foreign", stop_lsn="0/420000", system_identifier="1")
    entries = [
        *map(entry, (late, copy, foreign, mark)),
        entry(doubted, verdict=Verdict.FAIL),
        entry(gone, problems=("a member is missing",)),
    ]

    def chosen(point: Point) -> str:
        return choose_copy(entries, point, system_identifier=SYSTEM).id

    assert chosen(point_of_mark(mark)) == "noon"
    assert chosen(known_point(target(to_name="before-0042"), [late, mark])) == "noon"
    assert chosen(known_point(target(to_lsn="0/500000"), [])) == "late"
    assert chosen(known_point(target(to_time="2027-01-31T13:09:59+00:00"), [])) == "noon"
    assert chosen(known_point(target(to_time="2027-01-31T14:10:00+01:00"), [])) == "late"
    for asked, said in [
        ({"to_time": "2027-01-31T12:09:59+00:00"}, "before the end of the oldest copy, noon"),
        ({"to_lsn": "0/2FFFFF"}, "before the end of the oldest copy, noon"),
        ({"to_name": "of-nobody"}, "it cannot be told which copy ends before it"),
    ]:
        with pytest.raises(InvalidInputError, match=said):
            chosen(known_point(target(**asked), [mark]))
    with pytest.raises(InvalidInputError, match="no usable copy of this cluster"):
        choose_copy(entries, point_of_mark(mark), system_identifier="2")


def test_a_copy_that_was_named_must_lead_to_the_point(copy: Backup, mark: Backup) -> None:
    refuse_unfit_copy(copy, point_of_mark(mark))
    with pytest.raises(InvalidInputError, match="no copy of a cluster"):
        refuse_unfit_copy(replace(copy, kind=BackupKind.FULL), point_of_mark(mark))
    with pytest.raises(InvalidInputError, match="behind lsn 0/2FFFFF"):
        refuse_unfit_copy(copy, known_point(target(to_lsn="0/2FFFFF"), []))
    with pytest.raises(RefusedError, match="is one of the cluster 1"):
        refuse_unfit_copy(copy, point_of_mark(replace(mark, system_identifier="1")))
    with pytest.raises(CouldNotVerifyError, match=r"of PostgreSQL 99, whose server programs .*found: ") as refused:
        runtime_for(replace(copy, server_version=990001))
    assert "install the server of PostgreSQL 99" in refused.value.hint


def test_room_for_the_cluster_the_log_and_a_fifth_more_is_asked_for(copy: Backup, tmp_path: Path) -> None:
    runtime = find_runtime()
    free = shutil.disk_usage(tmp_path).free
    fits = replace(copy, details={SIZE_DETAIL: "1000"})
    refuse_without_room(runtime, fits, tmp_path, more=1000)
    for backup, more in ((fits, free), (replace(copy, details={SIZE_DETAIL: str(round(free / 1.1))}), 0)):
        with pytest.raises(InvalidInputError, match=r"a fifth more that is .* [GT]B, but .*B are free"):
            refuse_without_room(runtime, backup, tmp_path, more=more)


@pytest.fixture
def archived(tmp_path: Path) -> ClusterArchive:
    """Segments 2 to 4 and 6 of timeline 1; 5 is missing. Timeline 2 left it in 4."""
    archive = FolderArchive(tmp_path / "store")
    for number in (2, 3, 4, 6):
        path = write_segment(tmp_path, number)
        archive_wal(archive, path, path.name, system_identifier=SYSTEM)
    history = tmp_path / "00000002.history"
    history.write_text("1\t0/410000\tno recovery target specified\n")
    archive_wal(archive, history, history.name, system_identifier=SYSTEM)
    for number in (4, 5):
        path = write_segment(tmp_path, number, timeline=2)
        archive_wal(archive, path, path.name, system_identifier=SYSTEM)
    return check_cluster(archive, SYSTEM)


def test_a_gap_before_the_point_is_named_and_one_behind_it_does_not_matter(
    archived: ClusterArchive, copy: Backup, mark: Backup
) -> None:
    reach = reach_of(archived, copy, lineage_of(archived, copy, "current"))
    assert (reach.to_lsn, reach.missing) == ("0/500000", "000000010000000000000005")

    def refuse(point: Point, backup: Backup = copy) -> None:
        refuse_out_of_reach(reach_of(archived, backup, (1,)), backup, point, archive="here")

    at = (reach.at or NOON) - timedelta(seconds=1)
    refuse(point_of_mark(mark))
    refuse(known_point(target(to_lsn="0/4FFFFF"), []))
    refuse(known_point(target(to_time=at.isoformat()), []))
    # A mark's position is behind it; of any other one it has to be seen what begins there.
    refuse(replace(point_of_mark(mark), lsn="0/500000"))
    late = Point(target=RecoveryTarget(kind=TargetKind.LATEST))
    for point in (known_point(target(to_lsn="0/500000"), []), late, known_point(target(to_name="x"), [])):
        with pytest.raises(BackupDamagedError, match=r"^000000010000000000000005 is missing from here"):
            refuse(point)
    after = replace(copy, stop_lsn="0/600000")
    refuse(late, after)
    with pytest.raises(InvalidInputError, match=r"ends at 0/700000 \(000000010000000000000006, archived at .* lsn 0/7"):
        refuse(known_point(target(to_lsn="0/700000"), []), after)
    with pytest.raises(InvalidInputError, match="has nothing behind the copy's end 0/800000"):
        refuse(known_point(target(to_lsn="0/900000"), []), replace(copy, stop_lsn="0/800000"))


def test_a_later_timeline_is_followed_over_its_fork_when_somebody_says_so(
    archived: ClusterArchive, copy: Backup
) -> None:
    for timeline in ("latest", "2"):
        lineage = lineage_of(archived, copy, timeline)
        assert lineage == (1, 2)
        assert reach_of(archived, copy, lineage).to_lsn == "0/700000"
    assert lineage_of(archived, copy, "1") == (1,)
    for timeline, backup in (("3", copy), ("1", replace(copy, timeline=2))):
        with pytest.raises(InvalidInputError, match="does not come from timeline"):
            lineage_of(archived, backup, timeline)
