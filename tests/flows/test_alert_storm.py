"""Two hundred alerts at once: a few messages, none lost and none told twice, also where the run is killed in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL

from squizzle.postgres.access import ServerAccess
from tests.conftest import ROOT
from tests.support.ears import HANGS, HttpEar, http_ear
from tests.support.processes import wait_until
from tests.support.town import HOOK, Town, a_town

pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning")]
SEVERITIES = ("low", "medium", "high", "critical")
RULES = 17
DEAF = "TOWN_DEAF"
FULL = "SELECT count(*) > 2 FROM box"
SWEEP = "import sys; from flows.sweep_health import sweep_health; sweep_health('town', configuration=sys.argv[1])"


@pytest.fixture
def deaf() -> Iterator[HttpEar]:
    """It takes nothing."""
    with http_ear() as ear:
        ear.faults = [400] * 100
        yield ear


@pytest.fixture
def town(access: ServerAccess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deaf: HttpEar) -> Iterator[Town]:
    """Three databases at which each of 68 rules fires, and a channel beside the others that takes nothing."""
    rules = [
        f"  - {{name: {severity}-{number}, condition: {FULL}, severity: {severity}}}\n"
        for severity in SEVERITIES
        for number in range(RULES)
    ]
    (tmp_path / "alerts.yml").write_text("alerts:\n" + "".join(rules), encoding="utf-8")
    channel = f'[notify.channels.deaf]\nkind = "webhook"\nurl_env = "{DEAF}"'
    fleet = 'deadline = "60s"\nwatch.alerts = ["alerts.yml"]'
    with a_town(Town, access, tmp_path, channel, fleet=fleet) as made:
        monkeypatch.setenv(DEAF, deaf.url)
        monkeypatch.setenv(HOOK, made.ear.url)
        made.migration("0001_a", "SELECT 1;")
        for number in range(3):
            with made.session(number) as session:
                session.execute("CREATE TABLE box AS SELECT generate_series(1, 3)")
        yield made


def kill_when_it_hangs(town: Town) -> None:
    """A sweep in a process of its own, which is killed while its third message is on its way."""
    environ = os.environ | {"PREFECT_API_URL": PREFECT_API_URL.value() or ""}
    with subprocess.Popen([sys.executable, "-c", SWEEP, str(town.settings)], cwd=ROOT, env=environ) as process:
        wait_until(lambda: not town.ear.faults, "the third message is on its way")
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("killed", [False, pytest.param(True, marks=pytest.mark.chaos)])
def test_a_storm_is_one_message_for_each_severity_with_none_lost_and_none_told_twice(
    town: Town, deaf: HttpEar, *, killed: bool
) -> None:
    town.ear.retry_after = "1"
    town.ear.faults = [429, 202, 202, HANGS] if killed else [429]
    if killed:
        kill_when_it_hangs(town)
    assert town.sweep().is_completed()
    said = town.ear.documents()
    # A channel that takes nothing is tried once, and told of once, in each run.
    assert len(deaf.posts) == 1 + killed
    of_the_deaf = [one for one in said if one["title"].startswith("nobody was told by deaf")]
    assert len(of_the_deaf) == 1 + killed
    said = [one for one in said if one not in of_the_deaf]
    assert said[0] == said[1], "the first one was asked to wait, and was said again"
    assert town.ear.at[1] - town.ear.at[0] >= 1
    begun = said[1:]
    assert [(one["moment"], one["severity"]) for one in begun] == [("begins", one) for one in reversed(SEVERITIES)]
    assert {one["title"] for one in begun} == {f"{3 * RULES} alerts: 3 targets"}
    town.ear.posts.clear()

    assert town.sweep().is_completed()
    assert town.heard() == []
    for number in range(3):
        with town.session(number) as session:
            session.execute("TRUNCATE box")
            if session.execute("SELECT to_regclass('squizzle.alert') IS NOT NULL").fetchone() == (True,):
                session.execute("UPDATE squizzle.alert SET last_not_false = last_not_false - interval '11 minutes'")
    assert town.sweep().is_completed()
    assert {(one["moment"], one["key"]) for one in town.heard()} == {("ends", one["key"]) for one in begun}
