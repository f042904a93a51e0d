"""The staged rollout, broken in every way: killed in each step, cancelled, without Prefect, two at the same time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelling, Crashed, State

from blocks import BackupFolder, PostgresDatabase
from flows.rehearse import rehearse
from squizzle.errors import RefusedError
from squizzle.postgres.access import Connection, connect
from squizzle.recovery.evidence import Step, StepState
from squizzle.rollout.discovery import discover_fleet
from squizzle.rollout.ledger import fleet_lock
from squizzle.rollout.planning import rollout_order, rollout_seed
from squizzle.rollout.records import FleetTarget, TargetReport, TargetState
from squizzle.rollout.report import RolloutOutcome, RolloutReport
from tasks.folders import read_folders
from tasks.outcome import report_of
from tasks.rollout import control_of
from tasks.rollout_case import Survey, case_of
from tasks.steps import watched_by
from tests.flows.conftest import artifacts_of, block_of, somebody_answers
from tests.flows.test_roll_out import MANY, Shops, eight, shops
from tests.integration.cli.conftest import url_of
from tests.support.forwarder import forwarder
from tests.support.killed import Mortal, mortal
from tests.support.processes import wait_until

__all__ = ["eight", "shops"]
pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning")]


@dataclass(frozen=True, kw_only=True)
class Runs:
    """Runs of the rollout, each in a process of its own that may die."""

    mortal: Mortal
    folder: Path
    options: dict[str, Any] = field(default_factory=dict)

    def run(self, *dies: object, batch: int = 200, api: str = "", **options: object) -> dict[str, Any]:
        """One run; what it said at its end, empty when it died."""
        said = self.folder / "said"
        # Not the id of the run before: whoever asks for it meanwhile gets that one, or this one's.
        for one in (said, self.folder / "said.told"):
            one.unlink(missing_ok=True)
        given = {"folder": str(self.folder), "dies": dies, "said": str(said), "batch": batch, "api": api}
        ended = self.mortal.run("rollout", **given, options={**self.options, **options})
        assert ended.was_killed == bool(dies), ended
        if dies == ("paused",):
            # What a worker would tell Prefect of a run whose process died.
            self._set(Crashed())
        found: dict[str, Any] = json.loads(said.read_text()) if said.exists() else {}
        return found

    def cancel(self) -> None:
        """What a person does in the UI."""
        self._set(Cancelling())

    def is_paused(self) -> bool:
        """Whether the run that is under way waits for a person."""
        if not (self.folder / "said.run").exists():
            return False
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(self.run_id).state
        return state is not None and state.is_paused()

    @property
    def run_id(self) -> UUID:
        """Of the run that is under way, or was the last."""
        return UUID((self.folder / "said.run").read_text())

    def _set(self, state: State[Any]) -> None:
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(self.run_id, state, force=state.is_crashed())


@pytest.fixture(scope="module")
def dying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mortal]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_API_URL", str(PREFECT_API_URL.value()))
        patch.setenv("SQUIZZLE_REPORTS", str(tmp_path_factory.mktemp("reports")))
        with mortal("tests.support.rolling_out", tmp_path_factory.mktemp("temp")) as one:
            yield one


@pytest.fixture
def runs(dying: Mortal, shops: Shops) -> Runs:
    return Runs(mortal=dying, folder=shops.folder)


STAGES = """
stages:
  - {name: canary, percentage: 5, duration: 1h, rollback_on_error: true}
  - {name: partial, percentage: 25, rollback_on_error: true}
  - {name: full, percentage: 100, approval_required: true}
"""
PLAN, BEGIN, SECURE = "Plan the rollout", "Write down that it begins", "Secure what will be changed"
APPLY, WATCH, TAKE_BACK = "Apply to targets", "Watch what was migrated", "Take back from targets"
ASK, RECORD, END = "Ask for approval", "Record the decision", "Write down how it ended"
YES = {"decision": "approve", "approver": "ada", "comment": "", "typed_name": "shops"}


@pytest.mark.chaos  # a minute; the next one kills in make test, too
@pytest.mark.usefixtures("quick_gate")
def test_killed_in_every_stage_and_step_it_goes_on_and_does_and_asks_nothing_twice(runs: Runs, shops: Shops) -> None:
    needed = ("[rehearsal]", 'required_for = ["production"]', "[backups]", f'store = "{shops.folder}/store"')
    shops.configure(*needed, environment="production")
    shops.migration("0001_more", "INSERT INTO goods VALUES (4)", "DELETE FROM goods WHERE id = 4")
    (shops.folder / "stages.yaml").write_text(STAGES, encoding="utf-8")
    options = {"without_certificates": "a test", "approver": "eve", "backups": "first"}
    runs = replace(runs, options=options)

    runs.run("after", BEGIN, 1)
    runs.run("after", SECURE, 1)
    runs.run("before", WATCH, 1)
    assert shops.ask("SELECT count(*) FROM goods") == [4, *[3] * (MANY - 1)]
    # It is watched for an hour in all, whoever watches.
    with shops.session(0) as session:
        session.execute("UPDATE squizzle_history SET applied_at = applied_at - interval '1 hour'")
    runs.run("after", APPLY, 2)
    runs.run("paused")
    with somebody_answers("→ shops", YES):
        runs.run("after", RECORD, 1)
    runs.run("after", APPLY, 3, batch=2)
    assert sorted(shops.ask("SELECT count(*) FROM goods")) == [3] * 4 + [4] * 4
    last = shops.ask("SELECT count(*) FROM goods").index(3)
    with shops.session(last) as blocker, blocker.transaction():
        blocker.execute("LOCK TABLE goods")
        runs.run("waits", url_of(shops.access, f"{shops.prefix}_{last}"))
    runs.run("before", END, 1)

    done = runs.run()
    assert done["state"] == "COMPLETED"
    assert shops.ask("SELECT count(*) FROM goods") == [4] * MANY
    assert shops.ask("SELECT count(*) FROM squizzle_history WHERE success") == [1] * MANY
    assert len(set(shops.ask("SELECT max(rollout_id) FROM squizzle_history"))) == 1
    with shops.session(0) as session:
        assert session.execute("SELECT outcome FROM squizzle.rollout").fetchall() == [("done",)]
        assert session.execute("SELECT count(*) FROM squizzle.decision").fetchone() == (1,)
    saved = [
        one.rsplit("-", 1)[0].partition("-")[2] for one in BackupFolder(path=shops.folder / "store").open().list_ids()
    ]
    assert len(saved) == len(set(saved)), "no target is backed up twice"


def in_order(shops: Shops) -> list[int]:
    """The numbers of the eight databases as the stages take them."""
    names = {f"one/{shops.prefix}_{number}": number for number in range(MANY)}
    targets = [FleetTarget(name=name, server="one", database="", pinned=number == 0) for name, number in names.items()]
    return [names[one.name] for one in rollout_order(targets, seed=rollout_seed("shops", "0001"))]


def waits_for_a_lock(session: Connection) -> None:
    query = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'goods'::regclass"
    wait_until(lambda: session.execute(query).fetchone() != (0,), "a target waits for its lock")


def goods(shops: Shops) -> list[int]:
    """How many rows each of the eight has, in the order of the stages."""
    counts = shops.ask("SELECT count(*)::int FROM goods")
    return [counts[number] for number in in_order(shops)]


@pytest.mark.kills
def test_killed_while_it_takes_back_it_goes_on_with_that_and_applies_nothing(runs: Runs, shops: Shops) -> None:
    shops.migration("0001_more", "INSERT INTO goods VALUES (4)", "DELETE FROM goods WHERE id = 4")
    stages = "stages: [{name: canary, percentage: 5}, {name: full, percentage: 100, rollback_on_error: true}]"
    (shops.folder / "stages.yaml").write_text(stages, encoding="utf-8")
    with shops.session(in_order(shops)[-1]) as last:
        last.execute("ALTER TABLE goods ADD CONSTRAINT few CHECK (id < 4)")
        runs.run("after", TAKE_BACK, 2, batch=2, takes_back="all")
        assert goods(shops) == [4, 3, 3, 3, 3, 4, 4, 3]
        last.execute("ALTER TABLE goods DROP CONSTRAINT few")

    done = runs.run(takes_back="all")
    assert done["state"] == "FAILED"
    assert "taken back (full: 1 target failed, 0 may" in done["message"]
    assert not [one for one in done["steps"] if one.startswith(APPLY)]
    assert goods(shops) == [3] * MANY
    with shops.session(0) as control:
        assert control.execute("SELECT outcome FROM squizzle.rollout").fetchall() == [("taken back",)]


@pytest.mark.usefixtures("quick_gate")
def test_cancelled_it_stops_between_targets_or_while_it_waits_and_says_what_stands(runs: Runs, shops: Shops) -> None:
    shops.migration("0001_more", "INSERT INTO goods VALUES (4)", "DELETE FROM goods WHERE id = 4")
    (shops.folder / "stages.yaml").write_text(
        "stages: [{name: canary, percentage: 5}, {name: half, percentage: 50, concurrency: 1},"
        " {name: full, percentage: 100, approval_required: true}]",
        encoding="utf-8",
    )
    with ThreadPoolExecutor(max_workers=1) as threads, shops.session(in_order(shops)[2]) as blocker:
        with blocker.transaction():
            blocker.execute("LOCK TABLE goods")
            first = threads.submit(runs.run)
            waits_for_a_lock(blocker)
            runs.cancel()
            wait_until((shops.folder / "said.told").exists, "it knows that it is cancelled")
        said = first.result()
        assert said["state"] == "CANCELLED"
        assert "half-migrated (the run was cancelled, or told to end, so nothing more was begun)" in said["message"]
        assert said["steps"][-1].startswith("Write the report of the rollout: ")
        # The one that was under way came to its end.
        assert goods(shops) == [4, 4, 4, 3, 3, 3, 3, 3]

        second = threads.submit(runs.run)
        wait_until(runs.is_paused, "it asks for the last stage", every_s=0.1)
        runs.cancel()
        assert second.result()["state"] == "CANCELLED"
    assert goods(shops) == [4, 4, 4, 4, 3, 3, 3, 3]
    with fleet_lock(lambda: shops.session(0), "shops"):
        """Nobody else has it."""


def test_prefects_server_may_be_gone_for_a_while(runs: Runs, shops: Shops) -> None:
    shops.migration("0001_more", "INSERT INTO goods VALUES (4)", "DELETE FROM goods WHERE id = 4")
    (shops.folder / "stages.yaml").write_text("stages: [{name: full, percentage: 100}]", encoding="utf-8")
    api = urlsplit(str(PREFECT_API_URL.value()))
    server = (str(api.hostname), int(api.port or 0))
    with ThreadPoolExecutor(max_workers=1) as threads, shops.session(5) as blocker:
        with blocker.transaction():
            blocker.execute("LOCK TABLE goods")
            with forwarder("127.0.0.1", 0, lambda: server) as port:
                run = threads.submit(runs.run, api=f"http://127.0.0.1:{port}{api.path}")
                waits_for_a_lock(blocker)
        wait_until(lambda: goods(shops) == [4] * MANY, "all of them are migrated, without Prefect")
        with forwarder("127.0.0.1", port, lambda: server):
            done = run.result()
    assert done["state"] == "COMPLETED"
    assert {"rollout-shops-full", "rollout-shops"} <= set(artifacts_of(runs.run_id))


def test_a_freeze_that_begins_between_batches_ends_the_run_with_what_stands(
    shops: Shops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.rollout.BATCH", 4)
    shops.migration("0001_more", "INSERT INTO goods VALUES (4)", "DELETE FROM goods WHERE id = 4")
    (shops.folder / "stages.yaml").write_text("stages: [{name: full, percentage: 100, wait_for: 1h}]", encoding="utf-8")

    # A machine may be too slow to begin in time; then nothing was done.
    for patience in (3, 12, 48):
        begins = datetime.now(UTC) + timedelta(seconds=patience)
        freeze = f'[[fleets.shops.freezes]]\nfrom = {begins.isoformat()}\nreason = "a fair"'
        shops.configure(freeze)

        def watch(steps: tuple[Step, ...], begins: datetime = begins) -> None:
            if steps[-1].title.startswith(APPLY) and steps[-1].state is StepState.DONE:
                wait_until(lambda: datetime.now(UTC) > begins, "it is frozen")

        with watched_by(watch):
            ended = shops.run()
        assert ended.is_failed()
        assert "full would have to wait for nobody knows how long: frozen until further notice: a fair" in ended.message
        if goods(shops) != [3] * MANY:
            break
    assert goods(shops) == [4] * 4 + [3] * 4
    assert report_of(ended).outcome is RolloutOutcome.HALF_MIGRATED

    shops.configure()
    assert shops.run().is_completed()
    assert goods(shops) == [4] * MANY


@pytest.mark.usefixtures("quick_gate")
def test_a_doubt_is_asked_about_and_decides_and_a_new_rollout_asks_anew(shops: Shops) -> None:
    shops.migration("0001_more", "INSERT INTO goods VALUES (4)", "DELETE FROM goods WHERE id = 4")
    (shops.folder / "stages.yaml").write_text(
        "stages: [{name: canaries, percentage: 25, rollback_on_error: true}, {name: full, percentage: 100}]",
        encoding="utf-8",
    )
    name = f"{shops.prefix}_{in_order(shops)[1]}"
    with connect(shops.access, "postgres", purpose="test") as control:

        def watch(steps: tuple[Step, ...]) -> None:
            is_watched = steps[-1].title.startswith(WATCH) and steps[-1].state is StepState.RUNNING
            works = steps[-1].title.startswith((TAKE_BACK, APPLY))
            goes_on = works and any(one.title.startswith(WATCH) for one in steps)
            if is_watched or goes_on:
                control.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {not is_watched}".encode())

        def run(decision: str, who: str) -> RolloutReport:
            answer = {"decision": decision, "approver": who, "comment": "it is known"}
            with watched_by(watch), somebody_answers("→ shops", answer):
                found: RolloutReport = report_of(shops.run())
            return found

        rejected = run("reject", "bob")
        assert rejected.outcome is RolloutOutcome.TAKEN_BACK
        assert f"one/{name}: database" in rejected.stages[0].why
        assert "rejected by bob" in rejected.stages[0].why
        assert goods(shops) == [3] * MANY
        accepted = run("approve", "ada")
        control.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
    assert accepted.outcome is RolloutOutcome.DONE
    assert goods(shops) == [4] * MANY


@pytest.mark.usefixtures("quick_gate")
def test_another_stages_file_asks_again_and_it_takes_two_who_may(shops: Shops) -> None:
    gone = '[[fleets.shops.targets]]\nserver = "one"\ndatabase = "is_gone"'
    shops.configure(gone)
    settings = shops.folder / "squizzle.toml"
    settings.write_text(settings.read_text().replace("[fleets.shops]\n", '[fleets.shops]\nunreachable = "exclude"\n'))
    shops.migration("0001_more", "INSERT INTO goods VALUES (4)", "DELETE FROM goods WHERE id = 4")
    stages = "stages: [{name: canary, percentage: 5}, {name: full, percentage: 100, approval_required: true}]"
    (shops.folder / "stages.yaml").write_text(stages, encoding="utf-8")
    options = {"approvers": ["ada", "eve", "bob"], "two_people": True}
    no, yes = ({"decision": one, "comment": ""} for one in ("reject", "approve"))
    with somebody_answers("→ shops", {**no, "approver": "bob"}):
        rejected = shops.run(**options)
    assert "rejected by bob" in rejected.message

    (shops.folder / "stages.yaml").write_text(stages.replace("full, ", "full, max_failures: 1, "), encoding="utf-8")
    later = ({**yes, "approver": one} for one in ("Ada", "carl", "eve"))
    with somebody_answers("→ shops", {**yes, "approver": "ada"}, again=tuple(later)):
        done = shops.run(**options)
    assert done.is_completed(), done.message
    report: RolloutReport = done.result()
    assert report.rollout_id == report_of(rejected).rollout_id
    assert report.stages[-1].approved.startswith("approved by eve")
    assert goods(shops) == [4] * MANY
    # Whoever cannot be reached is left out, and told.
    assert [one.state.value for one in report.found].count("unreachable") == 1


def test_a_certificate_lets_it_into_production_but_not_to_another_schema(
    shops: Shops, server_block: PostgresDatabase, store_block: BackupFolder
) -> None:
    shops.configure("[rehearsal]", 'required_for = ["production"]', environment="production")
    shops.migration("0001_price", "ALTER TABLE goods ADD COLUMN price int", "ALTER TABLE goods DROP COLUMN price")
    (shops.folder / "stages.yaml").write_text("stages: [{name: full, percentage: 100}]", encoding="utf-8")
    known = {"environment": "production", "fleet": "shops"}
    source = block_of(server_block.model_copy(update=known), f"{shops.prefix}_0")
    rehearsed = rehearse(
        source, store_block, shops.folder / "migrations", scratch_server=server_block, return_state=True
    )
    (certificate,) = rehearsed.result().certificates

    with shops.session(5) as session:
        session.execute("ALTER TABLE goods ADD COLUMN colour text")
        with pytest.raises(RefusedError, match=f"{shops.prefix}_5: drift: its schema is not the one that 0001 was re"):
            shops.run(store=store_block, backups="none").result()
        session.execute("ALTER TABLE goods DROP COLUMN colour")
    assert shops.ask("SELECT to_regclass('squizzle_history') IS NULL") == [True] * MANY
    done = shops.run(store=store_block, backups="none")
    assert done.is_completed(), done.message
    assert shops.ask("SELECT certificate FROM squizzle_history") == [certificate.id] * MANY
    report = str(artifacts_of(done.state_details.flow_run_id)["rollout-shops"].data)
    assert f"- 0001: certificate `{certificate.id}` of {certificate.database}" in report
    found = artifacts_of(rehearsed.state_details.flow_run_id)
    (rehearsal,) = [key for key in found if key.startswith("rehearsal-") and f"/artifacts/key/{key})" in report]
    assert "[rollout to shops](" in str(found[rehearsal].data)


def test_where_a_rollout_is_written_down_depends_on_the_fleet_alone(shops: Shops) -> None:
    shops.migration("0000_none", "SELECT 1", "SELECT 1")
    case = case_of(
        "shops",
        shops.folder / "stages.yaml",
        section=None,
        configuration=shops.folder / "squizzle.toml",
        store=None,
        without_certificates="",
        approver="",
        environ={},
    )
    fleet = discover_fleet(case.fleet, default_schema="public", environ={})
    found = set()
    for number in range(5):
        targets = [
            replace(one, pinned=False, size=10 ** (position * number)) for position, one in enumerate(fleet.targets)
        ]
        reports = tuple(TargetReport(target=one, state=TargetState.READY) for one in targets)
        shops.migration(f"000{number + 1}_more", "SELECT 1", "SELECT 1")
        survey = Survey(fleet=fleet, reports=reports, migrations=read_folders(case.folder))
        found.add(control_of(case, survey).database)
    assert len(found) == 1
