"""`make up` for real: server, worker, blocks, deployments; a drill started as the UI starts it; `make down`."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import expect

from sandbox.fleet import BUSY, SHOPS
from squizzle.postgres.access import ServerAccess, connect
from tests.browser.operator import Operator
from tests.support.cockpit import PATIENCE_S, Cockpit
from tests.support.processes import wait_until


def processes_of(state: Path) -> list[str]:
    """Processes whose command line or environment names the sandbox's folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(state) in " ".join([*process.cmdline(), *process.environ().values()]):
                found.append(" ".join(process.cmdline()))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def _first(access: ServerAccess, database: str, query: str) -> Any:
    with connect(access, database, purpose="test") as session:
        return (session.execute(query.encode()).fetchone() or (None,))[0]


def test_every_deployment_of_prefect_yaml_is_there_with_its_form(cockpit: Cockpit) -> None:
    drill = cockpit.deployment("drill")

    assert drill["entrypoint"] == "flows.run_drill:run_drill"
    assert drill["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
    properties = drill["parameter_openapi_schema"]["properties"]
    of_production = {"source", "production", "production_store"}
    assert set(properties) == {"scenario", "scale", "server", "store", "seed", "configuration"} | of_production
    assert all(one["description"] for one in properties.values())
    assert [one["active"] for one in drill["schedules"]] == [False]


def test_dead_man_switches_are_set(cockpit: Cockpit) -> None:
    found = cockpit.ask("POST", "/automations/filter", {})

    assert {"squizzle: no sweep of any fleet in 15 min", "squizzle: a rollout failed or crashed"} < {
        one["name"] for one in found if one["enabled"]
    }


def test_forty_shops_are_there_each_with_its_own_identity_and_the_busy_ones_get_orders(cockpit: Cockpit) -> None:
    target = cockpit.stack.target()
    access = ServerAccess(host=str(target.socket_folder), port=target.port, user=target.user)

    def first_of_each(query: str, names: Sequence[str] = SHOPS) -> list[Any]:
        return [_first(access, name, query) for name in names]

    assert len(set(first_of_each("SELECT id FROM squizzle.identity"))) == 40
    assert first_of_each("SELECT name || ' ' || fleet FROM squizzle.identity") == [f"{name} shops" for name in SHOPS]
    newest = "SELECT max(id) FROM orders"
    before = first_of_each(newest, BUSY)
    wait_until(
        lambda: all(now > was for now, was in zip(first_of_each(newest, BUSY), before, strict=True)),
        "orders come",
        seconds=60,
    )


def test_sweeps_of_the_shops_go_on_by_themselves_and_their_messages_come_to_the_console(cockpit: Cockpit) -> None:
    health = cockpit.deployment("health")
    assert [one["active"] for one in health["schedules"]] == [True]
    for name in ("health", "auto-recover", "write-postmortem"):
        filled = cockpit.deployment(name)["parameters"]
        assert (filled["fleet"], filled["configuration"]) == ("shops", str(cockpit.stack.shops.settings))
    assert cockpit.deployment("rollout")["parameters"]["stages"] == str(cockpit.stack.shops.stages)

    run = cockpit.run("try-channels", {"notifier": {"$ref": cockpit.block("notifier")}})

    assert run["state"]["type"] == "COMPLETED", run["state"]["message"]
    with urllib.request.urlopen(cockpit.stack.console()) as page:  # noqa: S310 - an address of ours
        assert "RESOLVED" in page.read().decode()


def test_activated_schedule_really_makes_runs(cockpit: Cockpit) -> None:
    """Some versions of Prefect's dependencies break scheduling without a word; only this notices."""
    drill = cockpit.deployment("drill")
    schedule = drill["schedules"][0]["id"]
    query = {
        "deployments": {"id": {"any_": [drill["id"]]}},
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
    }

    cockpit.ask("PATCH", f"/deployments/{drill['id']}/schedules/{schedule}", {"active": True})
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not (runs := cockpit.ask("POST", "/flow_runs/filter", query)) and time.monotonic() < deadline:
            time.sleep(0.5)
    finally:
        cockpit.ask("PATCH", f"/deployments/{drill['id']}/schedules/{schedule}", {"active": False})

    assert runs, "no scheduled run appeared"
    assert all(run["expected_start_time"][8:10] == "01" for run in runs)


def test_drill_started_from_its_deployment_completes_and_its_report_can_be_read(
    cockpit: Cockpit, operator: Operator
) -> None:
    store = {"$ref": cockpit.block("backup-folder")}

    # Not on the server of the shops: clients write there meanwhile, and nobody could say that the drill did not.
    run = cockpit.run("drill", {"scenario": "data_loss", "scale": 0.02, "store": store})

    assert run["state"]["type"] == "COMPLETED", run["state"]["message"]
    assert run["name"].startswith("drill data_loss at scale 0.02 on ")
    published = cockpit.artifacts(run["id"])
    about = {f"drill-data-loss{part}" for part in ("", "-tables", "-trend")}
    assert set(published) == {*about, "drill-progress"}
    assert published["drill-data-loss"]["data"].startswith("# Disaster drill: PASS")
    operator.open_artifact(published["drill-data-loss"]["id"])
    expect(operator.main.get_by_role("heading", name="Disaster drill: PASS")).to_be_visible()
    expect(operator.main.get_by_text("Time to recover (RTO)")).to_be_visible()
    expect(operator.main.get_by_role("link", name="every table")).to_have_attribute(
        "href", re.compile("/artifacts/key/drill-data-loss-tables$")
    )
    operator.look("drill's report")
    password = cockpit.stack.target().read_password()
    assert password not in json.dumps(run)
    assert password not in json.dumps(cockpit.ask("POST", "/logs/filter", {"limit": 200}))


def test_a_run_that_cannot_begin_says_what_to_do_next_and_shows_no_traceback(
    cockpit: Cockpit, operator: Operator
) -> None:
    database = {"$ref": cockpit.block("postgres-database")}

    run = cockpit.run("pause-triggers", {"database": database, "table": "goods", "reason": "bulk load"})

    said = "there is no table public.goods"
    assert run["state"]["type"] == "FAILED"
    assert run["state"]["message"].startswith(said)
    assert ". Next: " in run["state"]["message"]
    about = {"flow_run_id": {"any_": [run["id"]]}}

    def lines() -> list[str]:
        return [one["message"] for one in cockpit.ask("POST", "/logs/filter", {"limit": 200, "logs": about})]

    wait_until(lambda: any(one.startswith("Finished in state Failed") for one in lines()), "the log ends", seconds=60)
    operator.open_run(run["id"])
    operator.sees_state("Failed")
    # The log is sent every two seconds: what comes behind its end is there by now.
    time.sleep(3)
    assert [one for one in lines() if "Traceback" in one] == []
    assert any(said in one for one in lines())
    operator.look("a run that cannot begin")


# The last one of this folder: whoever comes behind it finds nothing that runs.
def test_up_again_changes_nothing_and_down_leaves_no_process(cockpit: Cockpit) -> None:
    ours = ("prefect-server", "prefect-worker", "console", "load")
    before = {name: cockpit.stack.records.running(name) for name in ours}
    assert all(before.values())

    assert cockpit.stack.up(lambda _text: None) == cockpit.address
    assert {name: cockpit.stack.records.running(name) for name in before} == before

    stopped = cockpit.stack.down()
    assert set(stopped) == {*ours, "PostgreSQL (target)", "PostgreSQL (cockpit)"}
    assert processes_of(cockpit.stack.state) == []
    assert cockpit.stack.down() == ()
