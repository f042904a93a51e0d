"""docs/tour.md: every command of it in its order, and the two answers that a person gives in between.

The sections of the page are one story, so these tests are run together, in this order.
"""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from sandbox.fleet import SHOPS
from sandbox.stack import STATE, Stack
from squizzle.postgres.access import ServerAccess, connect
from tests.browser.operator import Operator
from tests.conftest import ROOT
from tests.support.cockpit import ENDED, Cockpit
from tests.support.processes import wait_until

# Several runs of Prefect's, a recovery and a drill: a minute and a half.
pytestmark = pytest.mark.exhaustive

PAGE = (ROOT / "docs" / "tour.md").read_text(encoding="utf-8")
PATIENCE_S = 600.0
COMPLETED = "finished successfully in 'Completed'"


def commands() -> dict[str, list[str]]:
    """The lines of the page's commands, by the heading above."""
    found: dict[str, list[str]] = {}
    for part in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]:
        blocks = re.findall(r"^```sh\n(.*?)^```", part, flags=re.MULTILINE | re.DOTALL)
        found[part.splitlines()[0]] = [line for block in blocks for line in block.splitlines()]
    return found


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Somebody who types what the page says into a shell."""

    cockpit: Cockpit

    def type(self, line: str, answer: str = "") -> str:
        """Run a line in the fleet's folder; what it printed. Its exit code is the one that its comment names, or 0."""
        keyboard, terminal = pty.openpty()
        os.write(keyboard, answer.encode())
        entrance = self.cockpit.stack.shops.entrance
        try:
            done = subprocess.run(
                ["/bin/bash", "-c", f". '{entrance}'\n{line}"],
                stdin=terminal,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=PATIENCE_S,
                check=False,
            )
        finally:
            os.close(keyboard)
            os.close(terminal)
        meant = re.search(r"# exit code (\d+)", line)
        assert done.returncode == int(meant[1] if meant else 0), f"{line}\n{done.stdout}"
        return done.stdout

    def sweep(self, line: str) -> None:
        """Until it was not in the way of the one that comes by itself, which is what the page says."""
        wait_until(lambda: COMPLETED in self.type(f"{line} || true"), "a sweep", seconds=PATIENCE_S)

    def shop(self, query: str) -> list[Any]:
        """The first column of the first row, at each shop."""
        target = self.cockpit.stack.target()
        access = ServerAccess(host=str(target.socket_folder), port=target.port, user=target.user)
        found = []
        for name in SHOPS:
            with connect(access, name, purpose="test") as session:
                found.append((session.execute(query.encode()).fetchone() or (None,))[0])
        return found

    def messages(self) -> list[tuple[str, str]]:
        return [
            (one["moment"], one["title"])
            for one in json.loads(self.type('curl -s "$SQUIZZLE_SANDBOX_CONSOLE"/messages.json'))
        ]


@pytest.fixture
def reader(cockpit: Cockpit) -> Reader:
    return Reader(cockpit=cockpit)


def test_the_page_begins_and_ends_with_what_other_tests_of_this_folder_do(reader: Reader) -> None:
    page = commands()
    assert list(page) == ["Begin", "Roll out", "Approve", "Break", "Recover", "Drill", "End"]
    up, enter, *looks = page["Begin"]

    assert (up, enter) == ("make up", f". {Stack(STATE).shops.entrance.relative_to(ROOT)}")
    assert page["End"] == ["cd - && make down"]
    for line, told in zip(looks, ("1 pending", "canary", "all 40 targets of shops are well"), strict=True):
        assert told in reader.type(line)


def test_a_migration_is_rolled_out_with_a_yes_on_the_page_and_a_yes_in_the_shell(
    reader: Reader, operator: Operator
) -> None:
    roll_out(commands(), reader, operator)


def test_a_shop_is_broken_people_hear_of_it_and_it_is_recovered(reader: Reader) -> None:
    page = commands()
    break_one(page["Break"], reader)
    recover_it(page["Recover"], reader)


def test_a_drill_is_played(reader: Reader) -> None:
    (drill,) = commands()["Drill"]
    assert COMPLETED in reader.type(drill)


def roll_out(page: dict[str, list[str]], reader: Reader, operator: Operator) -> None:
    dry_run, start = page["Roll out"]
    look, approve, fleet = page["Approve"]
    cockpit = reader.cockpit
    assert COMPLETED in reader.type(dry_run)
    assert has_discount(reader).count(True) == 0
    started = re.search(r"UUID: (\S+)", reader.type(start))
    assert started is not None
    run_id = started[1]

    operator.open_run(run_id)
    wait_for_question(cockpit, run_id, lambda: "rollout-shops-canary" in cockpit.artifacts(run_id))
    operator.sees_state("Paused")
    assert has_discount(reader).count(True) == 2
    operator.open_question()
    operator.look("question")
    operator.answer("approve", Your_name="ben")
    wait_for_question(cockpit, run_id, lambda: "rollout-shops-partial" in cockpit.artifacts(run_id))
    assert has_discount(reader).count(True) == 10
    assert "stage full" in reader.type(look)
    reader.type(approve, answer="approve\n")

    assert cockpit.wait_for(run_id, ENDED)["state"]["type"] == "COMPLETED"
    assert has_discount(reader) == [True] * len(SHOPS)
    assert "0002" in reader.type(fleet)
    operator.open_run(run_id)
    operator.sees_state("Completed")
    for tab in ("Logs", "Artifacts"):
        operator.open_tab(tab)
        operator.look(f"rollout {tab}")
    look_at_artifacts(operator, cockpit, run_id)


def wait_for_question(cockpit: Cockpit, run_id: str, is_so_far: Callable[[], bool]) -> None:
    def asks() -> bool:
        state = cockpit.ask("GET", f"/flow_runs/{run_id}")["state"]
        assert state["type"] not in ENDED, state["message"]
        return state["type"] == "PAUSED" and is_so_far()

    wait_until(asks, "a question", seconds=PATIENCE_S, every_s=0.5)


def look_at_artifacts(operator: Operator, cockpit: Cockpit, run_id: str) -> None:
    if operator.pictures is not None:
        for key, one in cockpit.artifacts(run_id).items():
            operator.open_artifact(one["id"])
            operator.look(f"artifact {key}")


def has_discount(reader: Reader) -> list[Any]:
    return reader.shop(
        "SELECT count(*) = 1 FROM pg_attribute WHERE attrelid = 'orders'::regclass AND attname = 'discount_cents'"
    )


def break_one(lines: list[str], reader: Reader) -> None:
    backup, copy, apply, sweep, incidents = lines
    reader.type(backup)
    reader.type(copy)
    assert "could not create unique index" in reader.type(apply)
    assert sorted(set(reader.shop("SELECT count(*) FROM reviews"))) == [360, 600]
    reader.sweep(sweep)
    assert ("begins", "a migration failed: main/shop_07") in reader.messages()
    assert re.search(r"main/shop_07 .* open ", reader.type(incidents))


def recover_it(lines: list[str], reader: Reader) -> None:
    dry_run, recover, remove, sweep, incidents = lines
    assert "240 rows fewer" in reader.type(dry_run)
    assert "RECOVERED" in reader.type(recover)
    assert set(reader.shop("SELECT count(*) FROM reviews")) == {600}
    reader.type(remove)
    reader.sweep(sweep)
    assert not re.search(r"main/shop_07 .* open ", reader.type(incidents))
