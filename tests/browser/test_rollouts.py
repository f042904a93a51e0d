"""A rollout over forty databases, started, watched and decided on in a real browser on Prefect's pages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from squizzle.postgres.access import ServerAccess, connect
from tests.browser.operator import Operator
from tests.conftest import ROOT
from tests.support.cockpit import ENDED, Cockpit
from tests.support.processes import wait_until
from tests.support.scratch import drop_databases

MANY = 40
# Not the names of the shops that the sandbox has.
PREFIX = "ware_"
# The stages file of the page on fleets, which is the one that most runbooks have: 5 %, 25 % and all.
STAGES = re.search(r"```yaml\n(production_rollout:.*?)```", (ROOT / "docs" / "fleets.md").read_text("utf-8"), re.DOTALL)
WAITS = frozenset({"PAUSED"})


@dataclass(frozen=True, kw_only=True)
class Shops:
    """Forty databases with three goods each, `squizzle.toml`, the stages file and one migration."""

    access: ServerAccess
    folder: Path

    def ask(self, query: str) -> list[Any]:
        """The first column of the first row, at each of them."""
        found = []
        for number in range(1, MANY + 1):
            with connect(self.access, f"{PREFIX}{number:02}", purpose="test") as session:
                found.append((session.execute(query.encode()).fetchone() or (None,))[0])
        return found

    def migration(self, up: str, down: str) -> None:
        place = self.folder / "migrations" / "0001_new"
        place.mkdir(parents=True)
        (place / "up.sql").write_text(up, encoding="utf-8")
        (place / "down.sql").write_text(down, encoding="utf-8")

    def let_hours_pass(self, targets: list[str]) -> None:
        """When something was applied is told by the histories alone: what they say is three hours earlier now."""
        for target in targets:
            with connect(self.access, target.partition("/")[2], purpose="test") as session:
                session.execute("UPDATE squizzle_history SET applied_at = applied_at - interval '3 hours'")


@pytest.fixture(scope="module")
def forty(cockpit: Cockpit) -> Iterator[ServerAccess]:
    target = cockpit.stack.target()
    access = ServerAccess(host=str(target.socket_folder), port=target.port, user=target.user)
    with connect(access, "postgres", purpose="test") as control:
        for number in range(1, MANY + 1):
            control.execute(f"CREATE DATABASE {PREFIX}{number:02} TEMPLATE template0 STRATEGY file_copy".encode())
        yield access
        drop_databases(control, PREFIX)


@pytest.fixture
def shops(forty: ServerAccess, tmp_path: Path) -> Shops:
    one = Shops(access=forty, folder=tmp_path)
    for number in range(1, MANY + 1):
        with connect(forty, f"{PREFIX}{number:02}", purpose="test") as session:
            session.execute(
                "DROP SCHEMA IF EXISTS squizzle CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public;"
                " CREATE TABLE goods AS SELECT n AS id FROM generate_series(1, 3) n"
            )
    host = quote(forty.host, safe="")
    (tmp_path / "squizzle.toml").write_text(
        f"""
[fleets.shops]
environment = "production"
pinned = ["eu1/{PREFIX}01"]
[fleets.shops.servers.eu1]
url = "postgresql://{forty.user}@/postgres?host={host}&port={forty.port}"
[fleets.shops.databases]
like = "{PREFIX}%"
[rehearsal]
required_for = []
""",
        encoding="utf-8",
    )
    assert STAGES is not None
    (tmp_path / "stages.yaml").write_text(STAGES[1], encoding="utf-8")
    return one


@dataclass(frozen=True, kw_only=True)
class Control:
    """Starts rollouts by the form, and waits for them."""

    operator: Operator
    cockpit: Cockpit
    shops: Shops

    def fill(self) -> None:
        folder = self.shops.folder
        self.operator.fill(
            Fleet="shops",
            Stages=str(folder / "stages.yaml"),
            Configuration=str(folder / "squizzle.toml"),
        )
        self.operator.fill(Watch_every="1")
        self.operator.main.get_by_role("switch", name="Dry run").click()

    def start(self) -> str:
        """Submit the form; the run's id."""
        with self.operator.page.expect_response(lambda one: "/create_flow_run" in one.url and one.ok) as created:
            self.operator.submit()
        run_id: str = created.value.json()["id"]
        self.operator.open_run(run_id)
        return run_id

    def watched_for_hours(self, run_id: str, stage: str) -> None:
        """The stage is applied, and the time that it is watched for passes."""
        key = f"rollout-shops-{stage}"
        wait_until(lambda: key in self.cockpit.artifacts(run_id), f"{stage} is applied", seconds=120, every_s=0.2)
        self.shops.let_hours_pass([row["target"] for row in self.table(run_id, key)])

    def table(self, run_id: str, key: str) -> Any:
        return json.loads(self.cockpit.artifacts(run_id)[key]["data"])

    def look_at_artifacts(self, run_id: str) -> None:
        if self.operator.pictures is None:
            return
        for key, one in self.cockpit.artifacts(run_id).items():
            self.operator.open_artifact(one["id"])
            self.operator.look(f"artifact {key}")


@pytest.fixture
def control(operator: Operator, cockpit: Cockpit, shops: Shops) -> Control:
    return Control(operator=operator, cockpit=cockpit, shops=shops)


def test_a_fleet_is_rolled_out_from_the_form_to_the_end_with_the_stages_file_of_the_runbook(
    control: Control, operator: Operator, shops: Shops, cockpit: Cockpit
) -> None:
    shops.migration("ALTER TABLE goods ADD COLUMN price int", "ALTER TABLE goods DROP COLUMN price")
    operator.open_form("rollout")
    operator.look("form")
    control.fill()
    operator.fill(Watch_every="0")
    operator.submit()
    assert operator.complaint() == "Value must be greater than or equal to 1."
    operator.look("form, filled in wrongly")
    operator.fill(Watch_every="1")
    run_id = control.start()

    control.watched_for_hours(run_id, "canary")
    operator.look("running")
    control.watched_for_hours(run_id, "partial")
    operator.sees_state("Paused")
    assert shops.ask("SELECT to_regclass('squizzle_history') IS NOT NULL").count(True) == 10
    operator.look("paused")
    operator.open_question()
    for fact in ("Roll out 0001 to stage full of shops", "30 targets of shops", "asked now", "no certificate"):
        expect(operator.window).to_contain_text(fact)
    operator.look("question")
    operator.answer()
    operator.says("'decision' is a required property")
    operator.answer("approve", Your_name="a")
    operator.says("'a' is too short")
    operator.look("question, answered wrongly")
    assert cockpit.wait_for(run_id, WAITS)
    operator.answer(Your_name="anna", Reason="canary and partial look good")

    operator.sees_state("Completed")
    assert shops.ask("SELECT count(price) FROM goods") == [0] * MANY
    report = cockpit.artifacts(run_id)["rollout-shops"]["data"]
    assert "approved by anna" in report
    operator.open_tab("Artifacts")
    operator.look("done")
    operator.open_tab("Task Runs")
    operator.look("steps")
    control.look_at_artifacts(run_id)


@pytest.mark.exhaustive  # tests/flows/test_roll_out_watched.py shows the same without a browser
def test_a_canary_that_fares_worse_is_taken_back_and_the_next_stage_is_never_touched(
    control: Control, operator: Operator, shops: Shops, cockpit: Cockpit
) -> None:
    shops.migration("DELETE FROM goods WHERE id = 3", "INSERT INTO goods VALUES (3)")
    checks = shops.folder / "checks.sql"
    checks.write_text("SELECT count(*) = 3 FROM goods", encoding="utf-8")
    operator.open_form("rollout")
    control.fill()
    operator.main.get_by_role("tab", name="path").click()
    operator.main.get_by_role("tabpanel", name="path").get_by_role("textbox").fill(str(checks))
    run_id = control.start()

    operator.sees_state("Failed")
    operator.open_tab("Details")
    expect(operator.main.get_by_text("the check of line 1 failed").first).to_be_visible()
    operator.look("failed")
    assert shops.ask("SELECT count(*) FROM goods") == [3] * MANY
    assert shops.ask("SELECT to_regclass('squizzle_history') IS NOT NULL").count(True) == 2
    assert "rollout-shops-partial" not in cockpit.artifacts(run_id)
    operator.open_tab("Logs")
    operator.look("logs")
    control.look_at_artifacts(run_id)


def test_a_stage_that_is_rejected_is_not_begun(
    control: Control, operator: Operator, shops: Shops, cockpit: Cockpit
) -> None:
    shops.migration("CREATE TABLE new (i int)", "DROP TABLE new")
    stages = shops.folder / "stages.yaml"
    stages.write_text("stages: [{name: all, percentage: 100, approval_required: true}]", encoding="utf-8")
    operator.open_form("rollout")
    control.fill()
    run_id = control.start()

    cockpit.wait_for(run_id, WAITS | ENDED)
    operator.sees_state("Paused")
    operator.open_question()
    operator.answer("reject", Your_name="bob", Reason="not on a Friday")
    operator.sees_state("Failed")
    operator.open_tab("Details")
    expect(operator.main.get_by_text("rejected by bob").first).to_be_visible()
    expect(operator.main.get_by_text("not on a Friday").first).to_be_visible()
    operator.look("rejected")
    assert shops.ask("SELECT to_regclass('new') IS NULL") == [True] * MANY
