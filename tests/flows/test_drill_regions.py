"""Drills on servers of their own: back to a random moment, and a server that is lost; and what they are worth without it."""

from __future__ import annotations

import os
import random
import shutil
import time
from pathlib import Path

import pytest

from squizzle.drills.records import Detector, DrillScenario, DrillVerdict
from squizzle.drills.scenarios import BY_THE_LOG, EVERY_DATABASE
from squizzle.postgres.embedded import find_runtime
from squizzle.recovery.scratch import PREFIX
from tasks.steps import watched_by
from tests.flows.conftest import behind
from tests.flows.test_run_drill import SMALL, play
from tests.support.machine import Machine, new_machine
from tests.support.ready_drill import ready_drill

SEGMENT_LETTERS = 24


def own_clusters() -> list[Path]:
    """The folders of the servers of this process's drills."""
    return sorted(find_runtime().base.glob(f"drill-{os.getpid()}-*"))


@pytest.mark.exhaustive
def test_a_database_goes_back_to_a_random_moment_by_a_log_that_our_own_program_archived(reports_folder: Path) -> None:
    _state, report = play(DrillScenario.POINT_IN_TIME, seed=7)

    assert report.verdict is DrillVerdict.PASS, report.reasons
    assert (report.recovered_by, report.findings.rows_lost) == ("point_in_time", 0)
    assert "behind round 6 (seed 7)" in report.reasons[1]
    assert own_clusters() == []
    (written,) = reports_folder.iterdir()
    assert "(seed 7)" in written.read_text(encoding="utf-8")


def test_a_lost_server_is_rebuilt_and_can_be_saved_in_its_turn() -> None:
    _state, report = play(DrillScenario.REGION_LOSS)

    assert report.verdict is DrillVerdict.PASS, report.reasons
    assert report.findings.notice.by is Detector.CONNECTION
    assert report.recovered_by == "rebuild"
    assert any(reason.startswith(f"{BY_THE_LOG}: 4,400 rows") for reason in report.reasons)
    assert report.findings.rows_lost > 0  # what came after the backup is gone with the server
    assert own_clusters() == []


def left(machine: Machine) -> list[str]:
    """What is left of drills: servers of all kinds, and work folders."""
    found = (*machine.folder.glob("squizzle-*/*-*"), *machine.folder.glob("squizzle-w*"))
    return sorted(path.name for path in found if path.parent.name != "state" and not path.name.startswith("."))


@pytest.mark.chaos
def test_drills_killed_at_random_moments_leave_nothing_behind_the_next_one() -> None:
    """At chosen steps, and cheaper: tests/flows/test_run_drill.py."""
    seed = time.time_ns() % 10_000
    draw = random.Random(seed)  # noqa: S311 - to be played again
    killed: list[str] = []
    with new_machine() as machine, ready_drill(SMALL) as drill:
        for scenario in ("point_in_time", "region_loss") * 4:
            number, pause_s = draw.randint(1, 14), draw.random() * 2
            before = left(machine)
            killed.append(drill.kill_within(number, pause_s, folder=machine.folder, scenario=scenario))
            assert machine.wait_until_nothing_runs() == [], (seed, killed)
            assert [name for name in left(machine) if name in before] == [], (seed, killed)
        done = machine.run("drill", "--scale", str(SMALL), "--scenario", "point_in_time", "--json")
        assert (done.returncode, left(machine)) == (0, []), (seed, killed, done.stderr)


@pytest.mark.chaos
@pytest.mark.parametrize(
    ("scenario", "archives", "says"),
    [
        (DrillScenario.POINT_IN_TIME, f"drill-{os.getpid()}-*/archive", "the log in "),
        (DrillScenario.REGION_LOSS, f"drill.store-{os.getpid()}-*", f"it is not so that {BY_THE_LOG}: "),
    ],
    ids=["point_in_time", "region_loss"],
)
def test_without_the_newest_segment_of_its_log_a_database_does_not_come_back_as_it_was(
    scenario: DrillScenario, archives: str, says: str
) -> None:
    def lose_segment() -> None:
        found = [path for path in find_runtime().base.glob(f"{archives}/wal/*/*") if len(path.name) == SEGMENT_LETTERS]
        newest = max(found, key=lambda path: path.name)
        newest.unlink()
        newest.with_name(f"{newest.name}.sha256").unlink()

    with watched_by(behind("Wait until the log is archived", lose_segment)):
        _state, report = play(scenario)

    assert report.verdict is DrillVerdict.FAIL
    assert report.reasons[0].startswith(says)


@pytest.mark.chaos
def test_a_database_that_nobody_saved_is_missed_on_the_rebuilt_server() -> None:
    def lose_backup() -> None:
        (backup,) = [
            path
            for folder in own_clusters()
            for path in folder.glob(f"backups/*-{PREFIX.replace('_', '-')}*--ledger-*")
        ]
        shutil.rmtree(backup)

    with watched_by(behind("Disaster: the server is gone, with its data", lose_backup)):
        _state, report = play(DrillScenario.REGION_LOSS)

    assert report.verdict is DrillVerdict.FAIL
    assert report.reasons[0].startswith(f"it is not so that {EVERY_DATABASE}: ")
    assert "__ledger is not there" in report.reasons[0]
