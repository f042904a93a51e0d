"""Real servers that archive with our program, are killed, run out of disk, and are recovered from what was archived."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from squizzle.backups.folder_store import FolderStore
from squizzle.backups.order import Order
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.taking import take_backup
from squizzle.backups.wal.archive import FolderArchive
from squizzle.backups.wal.archiver import archiver_problems, read_archiver
from squizzle.backups.wal.check import check_cluster
from squizzle.backups.wal.restore_point import RestorePoint, await_archived, make_restore_point
from squizzle.backups.wal.transfer import archive_wal
from squizzle.cli.main import run
from squizzle.errors import EmbeddedServerError, ToolError
from squizzle.postgres.access import connect
from squizzle.postgres.identity import Target
from squizzle.postgres.programs import find_programs
from squizzle.recovery.cluster_folder import ArchiveUse, restore_cluster
from squizzle.recovery.recovery_target import parse_target
from tests.integration.backups.wal.conftest import PROGRAM, Lab
from tests.integration.conftest import SERVERS
from tests.support.mounts import PAGE_BYTES, small_disk
from tests.support.names import lets_in
from tests.support.processes import wait_until
from tests.support.tally import Kind, note_strike
from tests.support.wal import SEGMENT_BYTES, SYSTEM, write_segment

Copy = Callable[[], Path]


def rows(lab: Lab, store: Path, *, target: str | None, command: str | None = None) -> int:
    with lab.recovered(store, target=target, command=command) as session:
        found = session.execute("SELECT count(*) FROM t").fetchone()
        assert found is not None
        return int(found[0])


def test_a_copy_is_recovered_from_our_archive_to_a_mark(lab: Lab, steps: dict[str, str], mark: RestorePoint) -> None:
    assert mark.name == "after-second-a1b2c3"
    assert (mark.timeline, mark.segment) == (1, steps["second"])
    archived = lab.archived()
    assert set(steps.values()) < set(archived)
    assert [name for name in archived if name.endswith(".backup")]
    (system_identifier,) = FolderArchive(lab.store).clusters()
    found = check_cluster(FolderArchive(lab.store), system_identifier, read=True)
    assert (found.problems, found.segment_bytes) == ((), lab.segment_bytes)
    (run,) = found.timelines[0].runs
    assert run.last == steps["third"]
    before = {path: path.stat().st_mtime_ns for path in lab.store.rglob("*")}

    assert rows(lab, lab.store, target=mark.name) == 3000

    assert {path: path.stat().st_mtime_ns for path in lab.store.rglob("*")} == before
    with connect(lab.access, "postgres", purpose="test") as session:
        assert session.execute("SELECT failed_count FROM pg_stat_archiver").fetchone() == (0,)


@pytest.fixture
def place(lab: Lab) -> Iterator[Path]:
    """An empty folder of the account that servers run under."""
    folder = Path(tempfile.mkdtemp(prefix="sqz-"))
    lab.runtime.hand_over(folder)
    yield folder
    if (folder / "postmaster.pid").exists():
        lab.runtime.run([lab.runtime.bin_folder / "pg_ctl", f"--pgdata={folder}", "--mode=immediate", "stop"])
    shutil.rmtree(folder)


@pytest.mark.parametrize("lab", SERVERS[:1], indirect=True)
@pytest.mark.parametrize(("to", "rows"), [("name", 20), ("lsn", 20), ("latest", 30)])
def test_a_backup_becomes_a_folder_that_recovers_to_a_point_and_leaves_the_archive_alone(
    lab: Lab, marked: tuple[FolderStore, Backup, RestorePoint], place: Path, to: str, rows: int
) -> None:
    store, backup, point = marked
    target = parse_target(**{f"to_{to}": {"name": point.name, "lsn": point.lsn, "latest": True}[to]})
    assert target is not None
    before = {path: path.stat().st_mtime_ns for path in lab.store.rglob("*")}

    done = restore_cluster(
        store, backup, place, log=ArchiveUse(archive=FolderArchive(lab.store), program=lab.program, target=target)
    )
    subprocess.run(done.start, shell=True, check=True, stdout=subprocess.DEVNULL, timeout=60)  # noqa: S602 - as printed

    copy = replace(lab.access, host=str(place), port=5432)
    wait_until(lambda: lets_in(copy), "it has recovered")
    with connect(copy, "postgres", purpose="look") as session:
        assert session.execute("SELECT count(*) FROM marked").fetchone() == (rows,)
        session.execute("SELECT pg_switch_wal()")
        assert session.execute("SELECT archived_count FROM pg_stat_archiver").fetchone() == (0,)
    assert {path: path.stat().st_mtime_ns for path in lab.store.rglob("*")} == before


@pytest.fixture(scope="module")
def marked(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> tuple[FolderStore, Backup, RestorePoint]:
    """A backup with ten rows, a mark behind the next ten, and ten more in the archive."""
    store = FolderStore(tmp_path_factory.mktemp("marked"))
    insert = "INSERT INTO marked SELECT n FROM generate_series(1, 10) n"
    with connect(lab.access, "postgres", purpose="test") as session:
        session.execute("CREATE TABLE marked (n int)")
        session.execute(insert)
        order = Order(
            access=lab.access,
            target=Target(database="postgres", schema="public"),
            store=store,
            kind=BackupKind.PHYSICAL,
            programs=find_programs(explicit=None, server_major=lab.runtime.major),
        )
        backup = take_backup(order, suffix="aaaaaa")
        session.execute(insert)
        point = make_restore_point(session, "marked", suffix="aaaaaa")
        session.execute(insert)
        lab.switch_and_wait(session)
    return store, backup, point


@pytest.mark.parametrize("lab", SERVERS[:1], indirect=True)
def test_without_a_target_a_copy_is_recovered_to_the_end_of_the_log(lab: Lab, steps: dict[str, str]) -> None:
    assert steps["third"] in lab.archived()
    assert rows(lab, lab.store, target=None) == 4000


@pytest.mark.parametrize("lab", SERVERS[:1], indirect=True)
def test_a_removed_segment_stops_recovery_where_cp_would_lose_rows(
    lab: Lab, steps: dict[str, str], copy_of_store: Copy
) -> None:
    store = copy_of_store()
    segment = steps["second"]
    place = next((store / "wal").iterdir())
    (place / segment).unlink()

    # With the manual's command and no target, the server goes into service with half of the rows.
    assert rows(lab, store, target=None, command=f"cp {place}/%f %p") == 2000
    with pytest.raises(EmbeddedServerError, match=f"{segment} is missing from .*, which has {steps['third']} after it"):
        rows(lab, store, target=None)


@pytest.mark.parametrize("lab", SERVERS[-1:], indirect=True)
def test_a_damaged_segment_stops_recovery_and_is_named(lab: Lab, steps: dict[str, str], copy_of_store: Copy) -> None:
    store = copy_of_store()
    path = next((store / "wal").iterdir()) / steps["second"]
    content = bytearray(path.read_bytes())
    content[9000] ^= 1
    path.write_bytes(content)

    with pytest.raises(EmbeddedServerError, match=f"{steps['second']} in .* is damaged: its content is not what its"):
        rows(lab, store, target=None)


@pytest.mark.parametrize("lab", SERVERS[:1], indirect=True)
def test_a_mark_is_proven_by_fetching_its_segment_back(
    lab: Lab, steps: dict[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    url = f"postgresql://postgres@/postgres?host={lab.access.host}&port={lab.access.port}"
    mark = ["restore-point", "before-0042", "--url", url, "--json"]

    assert run([*mark, "--store", str(lab.store)]) == 0
    point = json.loads(capsys.readouterr().out)
    assert point["archived"]
    assert point["segment"] > steps["third"]
    assert run(mark) == 0
    another = json.loads(capsys.readouterr().out)
    assert not another["archived"]
    assert another["name"] != point["name"]
    assert another["name"].startswith("before-0042-")
    # An archive that the server does not fill proves nothing.
    assert run([*mark, "--store", str(tmp_path), "--wait", "0.3"]) == 10
    assert "is not in file://" in capsys.readouterr().out
    assert run(["restore-point", "no good", "--url", url]) == 2


@pytest.mark.parametrize("lab", SERVERS[:1], indirect=True)
def test_an_account_without_the_right_gets_a_position_and_is_told_the_grant(
    lab: Lab, steps: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert steps
    url = f"postgresql://migrator@/postgres?host={lab.access.host}&port={lab.access.port}"
    with connect(lab.access, "postgres", purpose="test") as session:
        session.execute("CREATE ROLE migrator LOGIN")
        assert run(["restore-point", "before", "--url", url, "--json"]) == 0
        said = capsys.readouterr()
        assert json.loads(said.out)["name"] is None
        assert json.loads(said.out)["lsn"]
        grant = 'GRANT EXECUTE ON FUNCTION pg_catalog.pg_create_restore_point(text) TO "migrator"'
        assert grant in said.err
        assert run(["restore-point", "before", "--url", url, "--store", str(lab.store)]) == 10
        switch = 'GRANT EXECUTE ON FUNCTION pg_catalog.pg_switch_wal() TO "migrator"'
        assert switch in capsys.readouterr().err
        for command in (grant, switch):
            session.execute(command.encode())
        access = replace(lab.access, user="migrator")
        with connect(access, "postgres", purpose="test") as migrator:
            point = make_restore_point(migrator, "before", suffix="x")
            assert await_archived(migrator, point, FolderArchive(lab.store)).archived
        assert point.name == "before-x"


@pytest.mark.parametrize("lab", SERVERS[:1], indirect=True)
def test_what_is_wrong_between_a_server_and_its_archive_is_said(lab: Lab, tmp_path: Path) -> None:
    archive = FolderArchive(lab.store)
    with connect(lab.access, "postgres", purpose="test") as session:
        session.execute("INSERT INTO t VALUES (0)")
        # The server learns it a moment after the file is there.
        last = lab.switch_and_wait(session)
        wait_until(lambda: read_archiver(session).last_archived == last, "the server has counted it")
        well = read_archiver(session)
        assert (well.on, well.waiting) == (True, 0)
        assert archiver_problems(well, archive) == ()
        url = f"postgresql://postgres@/postgres?host={lab.access.host}&port={lab.access.port}"
        assert run(["wal", "--store", str(lab.store), "--url", url]) == 0
        (elsewhere,) = archiver_problems(well, FolderArchive(tmp_path))
        assert f"says that {last} is archived" in elsewhere

        session.execute("ALTER SYSTEM SET archive_command = 'false'")
        session.execute("SELECT pg_reload_conf()")

        def fails_with_one_more() -> bool:
            # The archiver may read its settings a moment later, and still archive what comes before that.
            session.execute("INSERT INTO t VALUES (1)")
            row = session.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone()
            assert row is not None
            switched.append(row[0])
            time.sleep(0.5)
            return read_archiver(session).is_failing

        switched: list[str] = []
        wait_until(fails_with_one_more, "archiving fails")
        (failing,) = archiver_problems(read_archiver(session), archive)
        (since,) = (name for name in switched if f"archiving fails since {name}" in failing)
        assert f"{len(switched) - switched.index(since)} wait)" in failing
        session.execute("ALTER SYSTEM RESET archive_command")
        session.execute("SELECT pg_reload_conf()")


@pytest.mark.kills
def test_killed_at_any_instant_it_recovers_by_itself(tmp_path: Path, project_root: Path) -> None:
    store = tmp_path / "store"
    place = store / "wal" / SYSTEM
    left_behind = 0
    for number in range(1, 6):
        path = write_segment(tmp_path, number)
        command = [sys.executable, "-c", PROGRAM, "archive-wal", str(path), path.name, "--store", str(store)]
        command += ["--system-identifier", SYSTEM, *(["--compress"] if number % 2 else [])]
        process = subprocess.Popen(command, cwd=project_root, stderr=subprocess.DEVNULL)
        while process.poll() is None and not any((place / ".incoming").glob("*")):
            pass
        time.sleep((number - 1) * 0.001)  # each a little later, from the first byte to the last rename
        process.kill()
        process.wait()
        note_strike(Kind.KILL, "archive-wal", "the run itself", cell=number)
        left_behind += len(list((place / ".incoming").glob("*")))
        for found in place.glob("0*"):
            if re.fullmatch(r"[0-9A-F]{24}", found.name):
                assert found.read_bytes() == (tmp_path / found.name).read_bytes()
        assert subprocess.run(command, cwd=project_root, check=False, capture_output=True).returncode == 0
    assert left_behind
    assert list((place / ".incoming").iterdir()) == []
    assert len([one for one in place.iterdir() if one.name.endswith(".sha256")]) == 5


def test_after_a_full_disk_archiving_goes_on_where_cp_is_stuck_for_ever(tmp_path: Path) -> None:
    path = write_segment(tmp_path, 1)
    pages = SEGMENT_BYTES // PAGE_BYTES
    with small_disk(tmp_path / "disk", pages=3 * pages) as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(b"\0" * (2 * SEGMENT_BYTES + SEGMENT_BYTES // 2))
        archive = FolderArchive(disk / "store")
        by_manual = ["sh", "-c", f"test ! -f {disk}/{path.name} && cp {path} {disk}/{path.name}"]

        with pytest.raises(ToolError, match="No space left on device; nothing of it was left there"):
            archive_wal(archive, path, path.name, system_identifier=SYSTEM)
        assert [one for one in archive.folder.rglob("*") if one.is_file()] == []
        assert subprocess.run(by_manual, check=False, capture_output=True).returncode != 0

        ballast.unlink()
        assert not archive_wal(archive, path, path.name, system_identifier=SYSTEM).was_there
        assert subprocess.run(by_manual, check=False, capture_output=True).returncode != 0
