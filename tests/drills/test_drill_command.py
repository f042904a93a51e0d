"""The verbs that run a flow in their own process: `squizzle drill` and `squizzle recover`.

The drill passes, refuses a broken backup, and leaves nothing behind however it ends; the recovery asks at the terminal.
"""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from squizzle.chaos.settings import SURVIVED_KINDS
from squizzle.postgres.access import connect
from squizzle.postgres.embedded import drill_settings, find_runtime, throwaway_cluster
from tests.integration.conftest import access_to
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


@pytest.mark.chaos
@pytest.mark.parametrize(("scenario", "seeds"), [("data_loss", (3, 3, 4)), ("all", (1,))])
def test_a_drill_with_chaos_ends_with_a_report_of_what_was_struck_and_leaves_nothing(
    machine: Machine, scenario: str, seeds: tuple[int, ...]
) -> None:
    """A minute each, on a machine that has nothing else to do."""
    struck: dict[int, list[str]] = {}
    for seed in seeds:
        done = machine.run("drill", *SMALL, "--scenario", scenario, "--chaos", "0.1", "--seed", str(seed), "--json")

        assert done.returncode in {0, 7, 10}, done.stderr
        reports = json.loads(done.stdout)["scenarios"]
        found = [strike for one in reports for strike in one["struck"]]
        assert found
        assert [line for line in done.stderr.splitlines() if line.startswith("chaos: ")] == [
            f"chaos: {strike} (rate=0.1 seed={seed} kinds={','.join(sorted(SURVIVED_KINDS))})" for strike in found
        ]
        for one in reports:
            assert one["leftovers"] == []
            assert one["verdict"] == "pass" or one["reasons"]
            assert not [reason for reason in one["reasons"] if "broke off" in reason], "a defect, and no disaster"
        path = Path(done.stderr.strip().splitlines()[-1].removeprefix("report: "))
        assert "## What chaos struck" in path.read_text(encoding="utf-8")
        assert found == struck.setdefault(seed, found)
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
    assert document["scenarios"][0]["rto_ms"] is None
    report = Path(done.stderr.strip().splitlines()[-1].removeprefix("report: ")).read_text(encoding="utf-8")
    assert report.startswith("# Disaster drill: FAIL")
    (damaged,) = re.findall(r"Sabotage.*\bin (dump/[\w.]+)", report)
    assert damaged in reason
    with closing(sqlite3.connect(machine.folder / "state/squizzle/prefect/prefect.db")) as runs:
        states = runs.execute("SELECT state_type, state_name FROM flow_run ORDER BY created DESC LIMIT 1").fetchall()
    assert states == [("FAILED", "Failed")]
    assert machine.clusters() == []


def test_ctrl_c_stops_at_once_and_cleans_up(machine: Machine) -> None:
    process = machine.start("drill", *SMALL)
    wait_for_step(process, "Load the shop's data")
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does: the whole group hears it
    process.communicate(timeout=30)

    assert process.returncode == 130
    assert machine.wait_until_nothing_runs(3) == []
    assert machine.clusters() == []


@pytest.mark.chaos
def test_a_drill_plays_with_the_newest_backup_of_an_environment_that_it_does_not_ask(machine: Machine) -> None:
    """The server is gone when it begins; a minute on a machine that has nothing else to do."""
    place = machine.folder / "own"
    place.mkdir()
    project = replace(machine, folder=place, environment=dict(machine.environment))
    (place / "squizzle.toml").write_text(
        f'[backups]\nstore = "{place}/store"\n\n[environments.production]\nurl_env = "SHOP_URL"\n'
    )
    runtime = find_runtime()
    settings = drill_settings(runtime.major, throwaway=True)
    with throwaway_cluster("source", settings=settings, runtime=runtime) as running:
        access = access_to(running)
        with connect(access, "postgres", purpose="test") as session:
            session.execute("CREATE DATABASE shop")
        with connect(access, "shop", purpose="test") as session:
            session.execute(
                "CREATE TABLE account AS SELECT n AS id, 'note ' || n AS note FROM generate_series(1, 700) AS n;"
                " ALTER TABLE account ADD PRIMARY KEY (id)"
            )
        password = running.read_password()
        project.environment["SHOP_URL"] = f"postgresql://{running.user}:{password}@{running.host}:{running.port}/shop"
        saved = project.run("backup", "full", "--env", "production", "--json")
        assert saved.returncode == 0, saved.stderr

    done = project.run("drill", "--source", "production", "--scenario", "corrupted_migration", "--json")

    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)["scenarios"]
    assert found["source"].startswith(f"backup {json.loads(saved.stdout)['id']} of shop")
    assert (found["rows"], found["recovered_by"], found["leftovers"]) == (700, "restore_beside", [])
    assert password not in done.stdout + done.stderr
    # Nothing is written into the source's store but what the drill cost.
    kept = [one.name for one in (place / "store").iterdir() if not one.name.startswith(".")]
    assert sorted(kept) == sorted([json.loads(saved.stdout)["id"], "drills"])
    assert machine.wait_until_nothing_runs(3) == []
    assert machine.clusters() == []


def test_a_recovery_asks_at_the_terminal_and_keeps_no_password_anywhere(machine: Machine) -> None:
    place = machine.folder / "recovery"
    place.mkdir()
    project = replace(machine, folder=place, environment=dict(machine.environment))
    queue = place / "queue is stopped"
    runtime = find_runtime()
    with throwaway_cluster(
        "recover", settings=drill_settings(runtime.major, throwaway=True), runtime=runtime
    ) as running:
        access = access_to(running)
        with connect(access, "postgres", purpose="test") as session:
            session.execute("CREATE DATABASE shop")
        with connect(access, "shop", purpose="test") as session:
            session.execute("CREATE TABLE account AS SELECT n AS id FROM generate_series(1, 100) AS n")
        password = running.read_password()
        url = f"postgresql://{running.user}:{password}@{running.host}:{running.port}/shop"
        project.environment["SHOP_URL"] = url
        (place / "squizzle.toml").write_text(
            f'[backups]\nstore = "{place}/store"\n\n[environments.testing]\nurl_env = "SHOP_URL"\nfences = ["queue"]\n'
            f'\n[fences.queue]\nkind = "command"\nclose = ["touch", "{queue}"]\nopen = ["rm", "{queue}"]\n'
        )
        assert project.run("backup", "full", "--env", "testing").returncode == 0
        with connect(access, "shop", purpose="test") as session:
            session.execute("TRUNCATE account")
        ours, theirs = pty.openpty()
        os.write(ours, b"approve\n")

        done = subprocess.run(
            project.command("recover", "--env", "testing", "--no-salvage", "--json"),
            stdin=theirs,
            capture_output=True,
            text=True,
            env=project.environment,
            cwd=place,
            check=False,
        )

        os.close(ours)
        os.close(theirs)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert (found["result"], found["chosen"], found["fenced"]) == ("recovered", "restore_beside", False)
        assert re.search(r"# Recover shop in testing and lose what was written in the last [0-9.]+ s\n", done.stderr)
        assert not queue.exists()
        with connect(access, "shop", purpose="test") as session:
            assert session.execute("SELECT count(*) FROM account").fetchone() == (100,)
        with connect(access, "postgres", purpose="test") as session:
            answers = session.execute("SELECT gate, answer, run FROM squizzle.decision").fetchall()
    assert answers == [("recover", "approve", answers[0][2])]
    places = [path for path in machine.folder.rglob("*") if path.is_file()]
    assert [path for path in places if "prefect" in str(path)]
    assert [path for path in places if password.encode() in path.read_bytes()] == []
    assert password not in done.stdout + done.stderr
    assert machine.wait_until_nothing_runs(3) == []


def test_production_takes_what_a_rehearsal_at_the_terminal_has_proven(machine: Machine) -> None:
    place = machine.folder / "rehearsal"
    version = place / "migrations" / "0001_owner"
    version.mkdir(parents=True)
    (version / "up.sql").write_text("ALTER TABLE account ADD COLUMN owner text NOT NULL DEFAULT 'nobody'")
    (version / "down.sql").write_text("ALTER TABLE account DROP COLUMN owner")
    project = replace(machine, folder=place, environment=dict(machine.environment))
    runtime = find_runtime()
    with throwaway_cluster(
        "rehearsed", settings=drill_settings(runtime.major, throwaway=True), runtime=runtime
    ) as running:
        access = access_to(running)
        with connect(access, "postgres", purpose="test") as session:
            session.execute("CREATE DATABASE shop")
        with connect(access, "shop", purpose="test") as session:
            session.execute("CREATE TABLE account AS SELECT n AS id FROM generate_series(1, 100) AS n")
        password = running.read_password()
        project.environment["SHOP_URL"] = f"postgresql://{running.user}:{password}@{running.host}:{running.port}/shop"
        (place / "squizzle.toml").write_text(
            f'[backups]\nstore = "{place}/store"\n\n[environments.production]\nurl_env = "SHOP_URL"\n'
        )
        refused = project.run("apply", "--all", "--env", "production", "--yes")
        assert refused.returncode == 9, refused.stderr
        assert "squizzle rehearse 0001 --env production" in refused.stderr

        proven = project.run("rehearse", "--all", "--env", "production", "--json")
        applied = project.run("apply", "--all", "--env", "production", "--yes", "--json")

        assert proven.returncode == 0, proven.stderr
        (certificate,) = json.loads(proven.stdout)["certificates"]
        assert (certificate["version"], certificate["verdict"]) == ("0001", "proven")
        assert certificate["rollback"]["schema"] == "exact"
        assert certificate["rollback"]["data"] == "equal"
        assert set(certificate["rto_ms"]) >= {"roll_back", "swap", "restore_beside"}
        assert applied.returncode == 0, applied.stderr
        with connect(access, "shop", purpose="test") as session:
            row = session.execute("SELECT certificate FROM squizzle_history WHERE version = '0001'").fetchone()
    assert row == (certificate["id"],)
    places = [path for path in place.rglob("*") if path.is_file()]
    assert [path for path in places if password.encode() in path.read_bytes()] == []
    assert password not in proven.stdout + proven.stderr
    assert machine.wait_until_nothing_runs(3) == []
