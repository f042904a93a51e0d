"""The staged rollout over eight databases of one server: to the end, and everything that may end it before."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_UI_URL

from blocks import BackupFolder
from flows.roll_out import roll_out
from squizzle.errors import ConnectionFailedError, InvalidInputError, LockTimeoutError, RefusedError
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.rollout.ledger import fleet_lock
from squizzle.rollout.report import RolloutOutcome, RolloutReport, StageOutcome
from tasks.outcome import report_of
from tests.flows.conftest import artifacts_of, somebody_answers
from tests.support.processes import wait_until
from tests.support.rollout_form import as_form
from tests.support.scratch import drop_databases

pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning")]
MANY = 8
# As the guide writes them, but for the time.
STAGES = """
production_rollout:
  stages:
    - name: canary
      percentage: 5
      duration: 1s
      rollback_on_error: true

    - name: partial
      percentage: 25
      duration: 1s
      rollback_on_error: true

    - name: full
      percentage: 100
      approval_required: true
"""


# Nobody is asked, so that a run which goes on where it should have ended does not wait for ever.
NOBODY_ASKED = STAGES.replace("approval_required: true", "rollback_on_error: true")


@dataclass(frozen=True, kw_only=True)
class Shops:
    """Eight databases with three goods each, `squizzle.toml`, a stages file, and migrations that a test writes."""

    access: ServerAccess
    prefix: str
    folder: Path
    options: dict[str, Any] = field(default_factory=dict)

    def configure(self, *more: str, environment: str = "testing", like: str = "") -> None:
        host = quote(self.access.host, safe="")
        text = f"""
[fleets.shops]
environment = "{environment}"
deadline = "5s"
pinned = ["one/{self.prefix}_0"]
[fleets.shops.servers.one]
url = "postgresql://{self.access.user}@/postgres?host={host}&port={self.access.port}"
[fleets.shops.databases]
like = "{like or self.prefix + "%"}"
"""
        (self.folder / "squizzle.toml").write_text("\n".join([text, *more]), encoding="utf-8")
        if not (self.folder / "stages.yaml").exists():
            (self.folder / "stages.yaml").write_text(STAGES, encoding="utf-8")

    def migration(self, name: str, up: str, down: str) -> None:
        place = self.folder / "migrations" / name
        place.mkdir(parents=True)
        (place / "up.sql").write_text(up, encoding="utf-8")
        (place / "down.sql").write_text(down, encoding="utf-8")

    def run(self, **options: Any) -> Any:
        arguments = {"fleet": "shops", "dry_run": False, "watch_every_s": 1, **options}
        return roll_out(
            stages=self.folder / "stages.yaml",
            configuration=self.folder / "squizzle.toml",
            return_state=True,
            **as_form(arguments),
        )

    def session(self, number: int) -> Connection:
        return connect(self.access, f"{self.prefix}_{number}", purpose="test")

    def ask(self, query: str) -> list[Any]:
        """The first column of the first row, at each of the eight."""
        found = []
        for number in range(MANY):
            with self.session(number) as session:
                found.append((session.execute(query.encode()).fetchone() or (None,))[0])
        return found


@pytest.fixture(scope="module")
def eight(access: ServerAccess) -> Iterator[str]:
    prefix = f"shop_{secrets.token_hex(3)}"
    with connect(access, "postgres", purpose="test") as control:
        for number in range(MANY):
            control.execute(f"CREATE DATABASE {prefix}_{number} TEMPLATE template0 STRATEGY file_copy".encode())
        yield prefix
        drop_databases(control, prefix)


@pytest.fixture
def shops(eight: str, access: ServerAccess, tmp_path: Path) -> Shops:
    one = Shops(access=access, prefix=eight, folder=tmp_path)
    for number in range(MANY):
        with one.session(number) as session:
            session.execute(
                "DROP SCHEMA IF EXISTS squizzle CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public;"
                " CREATE TABLE goods AS SELECT n AS id FROM generate_series(1, 3) n"
            )
    one.configure()
    return one


# One stage of a fleet whose environment asks for no proof, and the last stage, which somebody approves.
STAGE = ["stage-begun", "applying", "targets-done", "applied", "soaking", "soaked", "stage-ended"]
EVENTS = ["begun", *STAGE, *STAGE, STAGE[0], "approval-awaited", "approved", *STAGE[1:], "ended"]


def events_of(rollout_id: str) -> list[str]:
    """What the server heard of a rollout, in order; it hears a moment later."""
    asked = {"filter": {"resource": {"id": [f"squizzle.rollout.{rollout_id}"]}, "order": "ASC"}, "limit": 50}
    heard: list[str] = []

    def heard_the_end() -> bool:
        with get_client(sync_client=True) as client:
            answer = client.request("POST", "/events/filter", json=asked).json()
        heard[:] = [one["event"].removeprefix("squizzle.rollout.") for one in answer["events"]]
        return heard[-1:] == ["ended"]

    wait_until(heard_the_end, "the server hears of the end")
    return heard


def outcomes(report: RolloutReport) -> list[tuple[str, StageOutcome]]:
    return [(one.name, one.outcome) for one in report.stages]


@pytest.mark.usefixtures("quick_gate")
def test_a_fleet_is_migrated_stage_by_stage_and_the_last_one_when_somebody_agrees(shops: Shops) -> None:
    shops.migration("0001_price", "ALTER TABLE goods ADD COLUMN price int", "ALTER TABLE goods DROP COLUMN price")
    dry = shops.run(dry_run=True)
    assert dry.is_completed(), dry.message
    assert dry.result().outcome is RolloutOutcome.NOT_BEGUN
    assert shops.ask("SELECT to_regclass('squizzle_history') IS NULL") == [True] * MANY

    with somebody_answers("→ shops", {"decision": "approve", "approver": "ada", "comment": "looks good"}):
        done = shops.run()
    assert done.is_completed(), done.message
    report: RolloutReport = done.result()
    assert report.outcome is RolloutOutcome.DONE
    assert outcomes(report) == [(name, StageOutcome.DONE) for name in ("canary", "partial", "full")]
    assert [len(one.results) for one in report.stages] == [1, 1, 6]
    assert report.stages[0].results[0].target.name == f"one/{shops.prefix}_0"
    assert report.stages[2].approved.startswith("approved by ada")
    by = shops.ask("SELECT rollout_id || coalesce(approved_by, '') FROM squizzle_history")
    assert set(by) == {report.rollout_id, f"{report.rollout_id}ada"}
    shown = artifacts_of(done.state_details.flow_run_id)
    assert {"rollout-shops", "rollout-shops-checks", "rollout-shops-full", "approval-rollout-full"} <= set(shown)
    assert "| full | 100 % | 6 | one look | stops | **asked now** |" in str(shown["approval-rollout-full"].data)
    asked = str(shown["approval-rollout-full"].data)
    assert "## If it ran now, at 5 of 6 targets" in asked
    assert f"| one/{shops.prefix}_" in asked
    assert f"[stage partial]({PREFECT_UI_URL.value()}/artifacts/key/rollout-shops-partial)" in asked
    pages = f"{PREFECT_UI_URL.value()}/artifacts/key/rollout-shops"
    for link in (f"[checks]({pages}-checks)", f"[stage canary]({pages}-canary)", f"({pages}-timeline)"):
        assert link in str(shown["rollout-shops"].data)
    with get_client(sync_client=True) as client:
        names = [client.read_flow_run(one.state_details.flow_run_id).name for one in (dry, done)]
    assert names == ["rollout 0001 → shops (dry run)", "rollout 0001 → shops"]
    assert [one.title for one in report.steps if one.title.startswith("Apply")] == [
        f"Apply to targets ({name})" for name in ("canary", "partial", "full")
    ]
    assert "](data:image/png;base64," in str(shown["rollout-shops-timeline"].data)
    assert events_of(report.rollout_id) == EVENTS

    again = shops.run()
    assert again.is_completed()
    assert again.result().outcome is RolloutOutcome.NOTHING_TO_DO


def test_a_canary_that_fares_worse_is_taken_back_and_nobody_else_is_touched(shops: Shops) -> None:
    shops.migration("0001_fewer", "DELETE FROM goods WHERE id = 3", "INSERT INTO goods VALUES (3)")
    (shops.folder / "stages.yaml").write_text(NOBODY_ASKED, encoding="utf-8")
    checks = shops.folder / "checks.sql"
    checks.write_text("SELECT count(*) = 3 FROM goods", encoding="utf-8")

    failed = shops.run(checks=checks)
    assert failed.is_failed()
    assert "the check of line 1 failed" in failed.message
    report: RolloutReport = report_of(failed)
    assert report.outcome is RolloutOutcome.TAKEN_BACK
    assert outcomes(report) == [("canary", StageOutcome.TAKEN_BACK)]
    assert shops.ask("SELECT count(*) FROM goods") == [3] * MANY
    assert shops.ask("SELECT to_regclass('squizzle_history') IS NULL") == [False, *[True] * (MANY - 1)]


@pytest.mark.usefixtures("quick_gate")
def test_a_rejected_stage_is_not_begun_nor_asked_about_again_and_what_was_brought_can_be_taken_back(
    shops: Shops,
) -> None:
    shops.migration("0001_new", "CREATE TABLE new (i int)", "DROP TABLE new")
    with somebody_answers("→ shops", {"decision": "reject", "approver": "bob", "comment": "not today"}):
        first = shops.run()
    # Nobody answers now: what was decided about this very plan stands.
    second = shops.run()
    for state in (first, second):
        assert state.is_failed()
        report: RolloutReport = report_of(state)
        assert report.outcome is RolloutOutcome.HALF_MIGRATED
        assert outcomes(report)[-1] == ("full", StageOutcome.NOT_APPROVED)
        assert "rejected by bob" in report.stages[-1].why
    assert report_of(first).rollout_id == report_of(second).rollout_id
    text = str(artifacts_of(second.state_details.flow_run_id)["rollout-shops"].data)
    assert "**2 of 8 targets have all of it.**" in text
    assert "--go-back" in text
    assert "6 of 8 targets lack something of it; about 0.0" in text
    assert "2 of 8 targets have something that it brought; how long that takes was never measured" in text
    assert sum(shops.ask("SELECT to_regclass('new') IS NOT NULL")) == 2

    with somebody_answers("→ shops (going back)", {"decision": "approve", "approver": "bob", "comment": ""}):
        back = shops.run(go_back=True)
    assert back.is_completed(), back.message
    assert back.result().outcome is RolloutOutcome.TAKEN_BACK
    assert shops.ask("SELECT to_regclass('new') IS NOT NULL") == [False] * MANY


def test_production_asks_for_certificates_and_is_secured_before_each_stage(
    shops: Shops, store_block: BackupFolder
) -> None:
    shops.configure("[rehearsal]", 'required_for = ["production"]', environment="production", like=f"{shops.prefix}_0")
    shops.migration("0001_new", "CREATE TABLE new (i int)", "DROP TABLE new")
    (shops.folder / "stages.yaml").write_text("stages: [{name: full, percentage: 100}]", encoding="utf-8")
    refused = shops.run(store=store_block)
    with pytest.raises(RefusedError, match="production asks for certificates, and none counts for 0001"):
        refused.result()
    assert shops.ask("SELECT to_regclass('new') IS NOT NULL") == [False] * MANY

    done = shops.run(store=store_block, without_certificates="a test", approver="ada")
    assert done.is_completed(), done.message
    (stage,) = done.result().stages
    assert "restore point rollout-full-" in stage.secured[0]
    assert len(store_block.open().list_ids()) == 1
    with shops.session(0) as session:
        found = session.execute("SELECT certificate, approved_by FROM squizzle_history").fetchone()
    assert found == ("none: a test", "ada")


def test_a_script_that_failed_is_mended_and_the_rollout_goes_on_but_not_one_that_somebody_has(shops: Shops) -> None:
    stages = "stages: [{name: canary, percentage: 1}, {name: full, percentage: 100}]"
    (shops.folder / "stages.yaml").write_text(stages, encoding="utf-8")
    shops.migration("0001_new", "CREATE TABLE new (i int)", "DROP TABLE new")
    shops.migration("0002_bad", "CREATE TABLE bad (i nonsense)", "DROP TABLE bad")
    failed: RolloutReport = report_of(shops.run())
    assert failed.outcome is RolloutOutcome.HALF_MIGRATED
    assert outcomes(failed) == [("canary", StageOutcome.STOPPED)]
    assert 'type "nonsense" does not exist' in failed.stages[0].why

    first, second = (shops.folder / "migrations" / name / "up.sql" for name in ("0001_new", "0002_bad"))
    second.write_text("CREATE TABLE bad (i int)", encoding="utf-8")
    first.write_text("CREATE TABLE new (i text)", encoding="utf-8")
    with pytest.raises(RefusedError, match="brought other scripts to some targets: 0001"):
        shops.run().result()
    first.write_text("CREATE TABLE new (i int)", encoding="utf-8")
    done = shops.run()
    assert done.is_completed(), done.message
    assert done.result().rollout_id == failed.rollout_id
    assert shops.ask("SELECT to_regclass('bad') IS NOT NULL") == [True] * MANY


def test_what_is_wrong_before_is_said_before_anything_is_done(shops: Shops) -> None:
    shops.migration("0001_new", "CREATE TABLE new (i int)", "DROP TABLE new")
    (shops.folder / "stages.yaml").write_text(NOBODY_ASKED, encoding="utf-8")
    gone = '[[fleets.shops.targets]]\nserver = "one"\ndatabase = "is_gone"'

    def run_with(*more: str, **options: str) -> Any:
        shops.configure(*more, **options)
        return shops.run()

    with pytest.raises(InvalidInputError, match="the fleet shops has no target"):
        run_with(like="nobody").result()
    with pytest.raises(RefusedError, match="is_gone: reachable, and who it should be"):
        run_with(gone).result()
    with pytest.raises(ConnectionFailedError, match="no target of shops can be used"):
        run_with(gone, like="nobody").result()
    with shops.session(1) as session:
        session.execute(
            "CREATE SCHEMA squizzle; CREATE TABLE squizzle.identity AS"
            " SELECT gen_random_uuid() AS id, 'staging'::text AS environment, NULL::text AS fleet, 'x'::text AS name"
        )
    with pytest.raises(RefusedError, match="environment is staging, expected testing"):
        run_with().result()

    def opens() -> Connection:
        return connect(shops.access, f"{shops.prefix}_0", purpose="somebody else")

    held = r"somebody else rolls out to shops now: session \d+ \(squizzle somebody else\) of "
    with fleet_lock(opens, "shops"), pytest.raises(LockTimeoutError, match=held):
        run_with().result()
    assert shops.ask("SELECT to_regclass('squizzle_history') IS NULL") == [True] * MANY


KILLED = """
import sys
from pathlib import Path
from flows.roll_out import roll_out
folder = Path(sys.argv[1])
roll_out("shops", folder / "stages.yaml", configuration=folder / "squizzle.toml", dry_run=False,
         watching={"watch_every_s": 1})
"""


def end_sessions(shops: Shops) -> None:
    """Until the server has noticed, sessions of the dead process still hold its locks."""
    ours = b"FROM pg_stat_activity WHERE starts_with(datname, %s) AND application_name LIKE 'squizzle rollout%%'"
    names: Sequence[str] = (shops.prefix,)
    with connect(shops.access, "postgres", purpose="test") as control:
        control.execute(b"SELECT pg_terminate_backend(pid) " + ours, names)
        query = b"SELECT count(*) " + ours
        wait_until(lambda: control.execute(query, names).fetchone() == (0,), "its sessions end")
