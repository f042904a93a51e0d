"""`squizzle drill`: passes, refuses a broken backup, and leaves nothing behind however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess

from tests.support.machine import Machine

SMALL = ("--scale", "0.02")


def wait_for_step(process: subprocess.Popen[str], title: str) -> None:
    """Read the drill's progress until this step is finished."""
    assert process.stderr is not None
    for line in process.stderr:
        if title in line:
            return
    raise AssertionError(f"the drill ended before {title!r}: {process.wait()}")


def test_drill_passes_and_prints_one_json_document_though_the_prefect_server_of_the_environment_is_down(
    machine: Machine,
) -> None:
    done = machine.run("drill", *SMALL, "--json", PREFECT_API_URL="http://127.0.0.1:9/api")

    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["verdict"] == "pass"
    (scenario,) = document["scenarios"]
    assert scenario["name"] == "data_loss"
    assert scenario["recovered_by"] == "restore_beside"
    assert scenario["differences"] == []
    assert scenario["rto_ms"] > 0
    assert scenario["rpo_ms"] > 0
    report = done.stderr.strip().splitlines()[-1].removeprefix("report: ")
    with open(report, encoding="utf-8") as file:  # noqa: PTH123 - the path is printed for people
        assert file.read().startswith("# Disaster drill: PASS")
    assert machine.wait_until_nothing_runs(3) == []
    assert machine.clusters() == []


def test_nothing_runs_after_kill_9_and_the_next_drill_cleans_up_whatever_comes_of_it(machine: Machine) -> None:
    """Killed at other steps: tests/flows/test_run_drill.py."""
    process = machine.start("drill", *SMALL)
    wait_for_step(process, "Switch over")
    process.kill()
    process.communicate()
    assert machine.wait_until_nothing_runs() == []
    # It is there for whoever wants to look, until the next one starts.
    assert len(machine.clusters()) == 1

    done = machine.run("drill", *SMALL, "--scenario", "broken_backup", "--json")

    assert done.returncode == 7
    document = json.loads(done.stdout)
    assert document["verdict"] == "fail"
    (reason,) = document["scenarios"][0]["reasons"]
    assert "dump/" in reason
    assert "nothing was restored" in reason
    assert "SHA-256" in reason
    assert document["scenarios"][0]["recovered_by"] is None
    assert machine.clusters() == []


def test_ctrl_c_stops_at_once_and_cleans_up(machine: Machine) -> None:
    process = machine.start("drill", *SMALL)
    wait_for_step(process, "Load the shop's data")
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does: the whole group hears it
    process.communicate(timeout=30)

    assert process.returncode == 130
    assert machine.wait_until_nothing_runs(3) == []
    assert machine.clusters() == []
