"""Taking back where the down script fails, and when nobody decides."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from prefect import flow

from blocks import BackupFolder
from flows.roll_out import carry_out_rollout
from squizzle.backups.change_log.switching import enable
from squizzle.postgres.identity import Target
from squizzle.rollout.orders import ApplyVerdict
from squizzle.rollout.planning import control_target
from squizzle.rollout.records import FleetTarget
from squizzle.rollout.report import RolloutOutcome, RolloutReport, StageOutcome
from tasks.outcome import report_of
from tasks.rollout_case import RolloutCase, Unapproved, case_of
from tasks.steps import now
from tests.flows.conftest import artifacts_of, somebody_answers
from tests.flows.test_roll_out import MANY, Shops, eight, outcomes, shops

__all__ = ["eight", "shops"]
pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning"), pytest.mark.usefixtures("quick_gate")]
TWO_CANARIES = """
stages:
  - {name: canary, percentage: 38, rollback_on_error: true}
  - {name: full, percentage: 100}
"""


def test_canaries_whose_down_script_fails_are_recovered_by_the_change_log_or_from_the_backup_of_the_rollout(
    shops: Shops, store_block: BackupFolder
) -> None:
    shops.configure("[rehearsal]", 'required_for = ["production"]', environment="production")
    settings = shops.folder / "squizzle.toml"
    both = f'pinned = ["one/{shops.prefix}_0", "one/{shops.prefix}_1"]'
    settings.write_text(re.sub("pinned = .*", both, settings.read_text(encoding="utf-8")), encoding="utf-8")
    (shops.folder / "stages.yaml").write_text(TWO_CANARIES, encoding="utf-8")
    (shops.folder / "checks.sql").write_text("SELECT count(*) = 3 FROM goods", encoding="utf-8")
    # Two canaries have nothing that the down script could divide by: the one that has the rollout written down, too.
    names = [f"one/{shops.prefix}_{number}" for number in (0, 1)]
    pinned = [FleetTarget(name=name, server="one", database=name[4:], pinned=True) for name in names]
    control = names.index(control_target(pinned, fleet="shops").name)
    logged = 1 - control
    shops.migration(
        "0001_fewer",
        "DELETE FROM goods WHERE id = 3",
        "SELECT 1 / count(*) FROM goods WHERE id = 2; INSERT INTO goods VALUES (3)",
    )
    for number in (0, 1):
        with shops.session(number) as session:
            session.execute("UPDATE goods SET id = 20 WHERE id = 2")
    with shops.session(logged) as session:
        session.execute("ALTER TABLE goods ADD PRIMARY KEY (id)")
        enable(session, Target(database=f"{shops.prefix}_{logged}"), (("public", "goods"),), on_wait=print)
    yes = {"decision": "approve", "approver": "ada", "comment": "we can lose that", "typed_name": "shops"}
    with somebody_answers("→ shops", yes):
        state = shops.run(
            store=store_block, checks=shops.folder / "checks.sql", without_certificates="a test", approver="ada"
        )
    report: RolloutReport = report_of(state)
    assert report.outcome is RolloutOutcome.TAKEN_BACK, state.message
    assert outcomes(report) == [("canary", StageOutcome.TAKEN_BACK)]
    results = report.stages[0].taken_back
    assert [one.verdict for one in results[2:]] == [ApplyVerdict.TAKEN_BACK]
    by_name = {one.target.name: one for one in results}
    first, second = by_name[names[control]], by_name[names[logged]]
    assert (first.verdict, second.verdict) == (ApplyVerdict.RECOVERED, ApplyVerdict.RECOVERED)
    assert first.recovery is not None
    assert second.recovery is not None
    # Nothing is lost, so nobody was asked.
    assert (second.recovery.way, second.recovery.lost, second.recovery.rows) == ("undo", timedelta(), 1)
    with shops.session(logged) as session:
        query = "SELECT direction, success FROM squizzle_history ORDER BY id"
        assert session.execute(query).fetchall() == [("apply", True), ("rollback", False), ("rollback", True)]
    assert "division by zero" in first.recovery.why
    assert first.recovery.way == "restore beside"
    assert first.recovery.name in str(report.stages[0].secured)
    assert first.recovery.rows >= 3
    assert first.recovery.took
    assert sorted(shops.ask("SELECT sum(id) FROM goods")) == [6] * (MANY - 2) + [24] * 2
    with shops.session(control) as session:
        assert session.execute("SELECT to_regclass('squizzle_history') IS NULL").fetchone() == (True,)
        # It ended, though the database that says so is another one now.
        assert session.execute("SELECT outcome FROM squizzle.rollout").fetchall() == [("taken back",)]
    shown = artifacts_of(state.state_details.flow_run_id)
    assert "restore beside" in str(shown["approval-rollout-recover"].data)
    assert "never carried out before" in str(shown["approval-rollout-recover"].data)
    assert names[logged] not in str(shown["approval-rollout-recover"].data)
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
