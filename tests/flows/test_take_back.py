"""Taking back where the down script fails, and when nobody decides."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from prefect import flow

from blocks import BackupFolder
from flows.roll_out import carry_out_rollout
from squizzle.rollout.orders import ApplyVerdict
from squizzle.rollout.report import RolloutOutcome, RolloutReport, StageOutcome
from tasks.rollout_case import RolloutCase, Unapproved, case_of
from tasks.steps import now
from tests.flows.conftest import artifacts_of, somebody_answers
from tests.flows.test_roll_out import MANY, Shops, eight, outcomes, shops

__all__ = ["eight", "shops"]
pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning"), pytest.mark.usefixtures("quick_gate")]
TWO_CANARIES = """
stages:
  - {name: canary, percentage: 25, rollback_on_error: true}
  - {name: full, percentage: 100}
"""


def test_a_canary_whose_down_script_fails_is_recovered_from_the_backup_that_the_rollout_made(
    shops: Shops, store_block: BackupFolder
) -> None:
    shops.configure("[rehearsal]", 'required_for = ["production"]', environment="production")
    (shops.folder / "stages.yaml").write_text(TWO_CANARIES, encoding="utf-8")
    (shops.folder / "checks.sql").write_text("SELECT count(*) = 3 FROM goods", encoding="utf-8")
    # The first canary, in which the rollout itself is written down, has nothing that its down script could divide by.
    shops.migration(
        "0001_fewer",
        "DELETE FROM goods WHERE id = 3",
        "SELECT 1 / count(*) FROM goods WHERE id = 2; INSERT INTO goods VALUES (3)",
    )
    with shops.session(0) as session:
        session.execute("UPDATE goods SET id = 20 WHERE id = 2")
    yes = {"decision": "approve", "approver": "ada", "comment": "we can lose that", "typed_name": "shops"}
    with somebody_answers("rollout to shops", yes):
        state = shops.run(
            store=store_block, checks=shops.folder / "checks.sql", without_certificates="a test", approver="ada"
        )
    report: RolloutReport = state.result(raise_on_failure=False)
    assert report.outcome is RolloutOutcome.TAKEN_BACK, state.message
    assert outcomes(report) == [("canary", StageOutcome.TAKEN_BACK)]
    first, second = report.stages[0].taken_back
    assert (first.verdict, second.verdict) == (ApplyVerdict.RECOVERED, ApplyVerdict.TAKEN_BACK)
    assert first.recovery is not None
    assert "division by zero" in first.recovery.why
    assert first.recovery.way == "restore beside"
    assert first.recovery.name in str(report.stages[0].secured)
    assert first.recovery.rows >= 3
    assert first.recovery.took
    assert sorted(shops.ask("SELECT sum(id) FROM goods")) == [6] * (MANY - 1) + [24]
    assert shops.ask("SELECT to_regclass('squizzle_history') IS NULL")[0]
    # It ended, though the database that says so is another one now.
    assert shops.ask("SELECT to_regclass('squizzle.rollout') IS NOT NULL")[0]
    with shops.session(0) as session:
        assert session.execute("SELECT outcome FROM squizzle.rollout").fetchall() == [("taken back",)]
    shown = artifacts_of(state.state_details.flow_run_id)
    assert "restore beside" in str(shown["approval-rollout-recover"].data)
    assert "never carried out before" in str(shown["approval-rollout-recover"].data)
    assert "Recovered, because their down scripts" in str(shown["rollout-shops"].data)


def test_nobody_decides_in_time_and_what_was_brought_is_taken_back(shops: Shops) -> None:
    shops.migration("0001_new", "CREATE TABLE new (i int)", "DROP TABLE new")

    @flow(persist_result=False)
    def hurried() -> RolloutReport:
        return carry_out_rollout(_hurried(shops.folder), now())

    report = hurried()
    assert report.outcome is RolloutOutcome.TAKEN_BACK
    assert outcomes(report)[-1] == ("full", StageOutcome.TAKEN_BACK)
    assert "nobody decided within" in report.stages[-1].why
    assert len(report.stages[-1].taken_back) == 2
    assert shops.ask("SELECT to_regclass('new') IS NOT NULL") == [False] * MANY


def _hurried(folder: Path) -> RolloutCase:
    case = case_of(
        "shops",
        folder / "stages.yaml",
        section=None,
        configuration=folder / "squizzle.toml",
        store=None,
        without_certificates="",
        approver="",
        environ=os.environ,
    )
    return replace(
        case,
        watch_every=timedelta(seconds=1),
        approval_timeout=timedelta(seconds=1),
        on_timeout=Unapproved.TAKE_BACK,
    )
