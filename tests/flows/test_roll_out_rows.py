"""The staged rollout to one database only: by share of the rows of a migration that runs in batches."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from prefect.settings import PREFECT_API_URL

from squizzle.cli.fleet import fleet
from squizzle.postgres.access import ServerAccess, connect
from squizzle.rollout.report import RolloutOutcome, RolloutReport, StageOutcome
from tasks.outcome import report_of
from tests.conftest import ROOT
from tests.flows.conftest import artifacts_of, somebody_answers
from tests.flows.test_roll_out import KILLED, NOBODY_ASKED, Shops, end_sessions, outcomes
from tests.support.processes import wait_until
from tests.support.scratch import drop_databases

pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning")]
UP = """
    ALTER TABLE goods ADD COLUMN cents int;
    -- squizzle: batch key=id size=10 pause=0ms target=1m
    UPDATE goods SET cents = id * 100;
    ALTER TABLE goods ALTER cents SET NOT NULL
"""
DOWN = "ALTER TABLE goods DROP COLUMN cents"
CENTS = "SELECT count(*) FROM pg_attribute WHERE attname = 'cents' AND NOT attisdropped"
CHANGED = "SELECT count(cents) FROM goods"


@pytest.fixture(scope="module")
def only(access: ServerAccess) -> Iterator[str]:
    prefix = f"only_{secrets.token_hex(3)}"
    with connect(access, "postgres", purpose="test") as control:
        control.execute(f"CREATE DATABASE {prefix}_0 TEMPLATE template0 STRATEGY file_copy".encode())
        yield prefix
        drop_databases(control, prefix)


@pytest.fixture
def shop(only: str, access: ServerAccess, tmp_path: Path) -> Shops:
    """One database with 200 goods, and two versions for it, of which the second runs in batches."""
    one = Shops(access=access, prefix=only, folder=tmp_path)
    with one.session(0) as session:
        session.execute(
            "DROP SCHEMA IF EXISTS squizzle CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public;"
            " CREATE TABLE goods (id int PRIMARY KEY); INSERT INTO goods SELECT generate_series(1, 200)"
        )
    one.configure()
    one.migration("0001_new", "CREATE TABLE new (i int)", "DROP TABLE new")
    one.migration("0002_cents", UP, DOWN)
    return one


def asked(shop: Shops, query: str) -> object:
    with shop.session(0) as session:
        return (session.execute(query.encode()).fetchone() or (None,))[0]


@pytest.mark.usefixtures("quick_gate")
def test_the_rows_of_the_only_database_go_stage_by_stage_also_after_a_kill_and_all_of_them_go_back(
    shop: Shops,
) -> None:
    environment = {**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value())}
    with shop.session(0) as blocker:
        # Without a lock on the table, which a statement of the first stage alters.
        blocker.execute(
            "SELECT pg_advisory_lock(42); CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN PERFORM pg_advisory_xact_lock(42); RETURN NEW; END $$; CREATE TRIGGER wait BEFORE UPDATE ON goods"
            " FOR EACH ROW WHEN (NEW.id = 35) EXECUTE FUNCTION wait()"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(shop.folder)], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL
        )

        def waits() -> bool:
            assert process.poll() is None
            query = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory' AND objid = 42"
            return blocker.execute(query).fetchone() != (0,)

        wait_until(waits, "a batch of the second share waits for its row")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        end_sessions(shop)
    assert asked(shop, CHANGED) == 30

    with somebody_answers("→ shops", {"decision": "reject", "approver": "bob", "comment": "not today"}):
        stopped = shop.run()
    report: RolloutReport = report_of(stopped)
    assert outcomes(report) == [
        ("canary", StageOutcome.DONE),
        ("partial", StageOutcome.DONE),
        ("full", StageOutcome.NOT_APPROVED),
    ]
    assert [one.results[0].verdict.value for one in report.stages[:2]] == ["done before", "share of the rows applied"]
    assert asked(shop, CHANGED) == 50
    assert report.outcome is RolloutOutcome.HALF_MIGRATED
    text = str(artifacts_of(stopped.state_details.flow_run_id)["rollout-shops"].data)
    assert "of 0002 25 % of 200 rows up to id = 50, 50 changed" in text
    assert "way back half-way" not in text, "the report has only what a check found"
    options = ["shops", "--config", str(shop.folder / "squizzle.toml"), "--stages", str(shop.folder / "stages.yaml")]
    shown = CliRunner().invoke(fleet, options).output
    assert "ready; of 0002 25 % of 200 rows up to id = 50, 50 changed" in shown
    planned = CliRunner().invoke(fleet, [*options, "--plan"]).output
    assert re.findall(r"of its rows\) +(\d)", planned) == ["1", "1", "0"]

    with somebody_answers("→ shops", {"decision": "approve", "approver": "bob", "comment": ""}):
        back = shop.run(go_back=True)
    assert back.is_completed(), back.message
    assert back.result().outcome is RolloutOutcome.TAKEN_BACK
    assert (asked(shop, CENTS), asked(shop, "SELECT to_regclass('new') IS NULL")) == (0, True)


def test_a_share_that_hurts_is_taken_back_with_its_version_and_when_mended_each_stage_does_its_own(shop: Shops) -> None:
    (shop.folder / "stages.yaml").write_text(NOBODY_ASKED, encoding="utf-8")
    checks = shop.folder / "checks.sql"
    checks.write_text("SELECT count(*) FILTER (WHERE cents > 2000) = 0 FROM goods", encoding="utf-8")
    hurt = shop.run(checks=checks)
    report: RolloutReport = report_of(hurt)
    assert outcomes(report) == [("canary", StageOutcome.DONE), ("partial", StageOutcome.TAKEN_BACK)]
    # The version before belongs to the first stage.
    assert (asked(shop, CENTS), asked(shop, "SELECT to_regclass('new') IS NULL")) == (0, False)
    assert report.outcome is RolloutOutcome.HALF_MIGRATED

    done = shop.run()
    assert done.is_completed(), done.message
    again: RolloutReport = done.result()
    assert again.rollout_id == report.rollout_id
    assert [one.results[0].share for one in again.stages] == [
        "0002: 5 % of 200 rows up to id = 10, 10 changed",
        "0002: 25 % of 200 rows up to id = 50, 50 changed",
        "",
    ]
    assert asked(shop, CHANGED) == 200
    rows = asked(shop, "SELECT string_agg(version || ' ' || success, ', ' ORDER BY id) FROM squizzle_history")
    assert rows == "0001 true, 0002 false, 0002 true, 0002 true"
