"""The sweep over a fleet: what is wrong is found, told once, kept, and told when it is over."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from prometheus_client.parser import text_string_to_metric_families

from blocks import BackupFolder
from flows.sweep_health import sweep_health
from flows.write_postmortem import write_postmortem
from squizzle.cli.main import run
from squizzle.errors import InvalidInputError, LockTimeoutError
from squizzle.migrations.history import ensure_history
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.sweep.records import Sweep
from tasks.watched import Sign
from tests.flows.conftest import artifacts_of, wait_for_sign
from tests.support.ears import HttpEar, http_ear
from tests.support.scratch import drop_databases

pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning")]
GONE = "postgresql://nobody@127.0.0.1:9/postgres"


@dataclass(frozen=True, kw_only=True)
class Town:
    """Three databases of a fleet, `squizzle.toml`, alert rules, and somebody who is told."""

    access: ServerAccess
    prefix: str
    folder: Path
    ear: HttpEar

    def session(self, number: int) -> Connection:
        return connect(self.access, f"{self.prefix}_{number}", purpose="test")

    def metrics(self) -> int:
        return run(
            ["metrics", "town", "--config", str(self.folder / "squizzle.toml"), "--textfile", str(self.prom), "--json"]
        )

    @property
    def prom(self) -> Path:
        return self.folder / "squizzle.prom"

    def numbers(self) -> dict[str, float]:
        """Name and labels but the fleet's, to value."""
        assert [one.name for one in self.folder.iterdir() if "squizzle.prom" in one.name] == ["squizzle.prom"]
        return {
            f"{one.name}{{{','.join(json.dumps(text) for name, text in one.labels.items() if name != 'fleet')}}}": one.value
            for family in text_string_to_metric_families(self.prom.read_text(encoding="utf-8"))
            for one in family.samples
        }

    def control(self) -> Connection:
        """To the one that alerts are kept in."""
        for number in range(3):
            session = self.session(number)
            if session.execute("SELECT to_regclass('squizzle.alert') IS NOT NULL").fetchone() == (True,):
                return session
            session.close()
        raise AssertionError("alerts are kept nowhere")

    def sweep(self, **options: Any) -> Any:
        return sweep_health("town", configuration=self.folder / "squizzle.toml", return_state=True, **options)

    def name(self, number: int) -> str:
        return f"one/{self.prefix}_{number}"

    def told(self) -> list[tuple[str, str]]:
        """What was said since the last time."""
        said = [(one["moment"], one["title"]) for one in self.ear.documents()]
        self.ear.posts.clear()
        return said


@pytest.fixture
def town(access: ServerAccess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    prefix = f"town_{secrets.token_hex(3)}"
    host = quote(access.host, safe="")
    (tmp_path / "alerts.yml").write_text(
        "alerts:\n  - {name: full, condition: SELECT count(*) > 2 FROM box, severity: high, notify: [webhook]}\n",
        encoding="utf-8",
    )
    for version in ("0001_bad", "0002_good"):
        (tmp_path / "migrations" / version).mkdir(parents=True)
        (tmp_path / "migrations" / version / "up.sql").write_text("SELECT 1;", encoding="utf-8")
    (tmp_path / "squizzle.toml").write_text(
        f"""
[notify]
runbook = "https://wiki/runbook"
[notify.channels.hook]
kind = "webhook"
url_env = "HOOK"
[fleets.town]
deadline = "10s"
[fleets.town.watch]
alerts = ["alerts.yml"]
[fleets.town.servers.one]
url = "postgresql://{access.user}@/postgres?host={host}&port={access.port}"
# So that it is well, however full the disk of the machine is.
free_bytes_query = "SELECT 10::bigint ^ 12"
[fleets.town.databases]
like = "{prefix}%"
""",
        encoding="utf-8",
    )
    with connect(access, "postgres", purpose="test") as control, http_ear() as ear:
        monkeypatch.setenv("HOOK", ear.url)
        for number in range(3):
            control.execute(f"CREATE DATABASE {prefix}_{number} TEMPLATE template0 STRATEGY file_copy".encode())
        try:
            town = Town(access=access, prefix=prefix, folder=tmp_path, ear=ear)
            for number in range(3):
                with town.session(number) as session:
                    session.execute("CREATE TABLE box (i int)")
            yield town
        finally:
            drop_databases(control, prefix)


def test_what_is_wrong_is_told_once_with_the_worst_first_and_told_when_it_is_over(
    town: Town, capsys: pytest.CaptureFixture[str]
) -> None:
    assert town.sweep().is_completed()
    assert town.told() == []
    wait_for_sign(Sign.SWEPT, "town")
    with town.session(1) as session, town.session(2) as other:
        ensure_history(session, "public")
        session.execute(
            "INSERT INTO squizzle_history (version, name, direction, success, applied_by)"
            " VALUES ('0001', 'bad', 'apply', false, 'test')"
        )
        other.execute("INSERT INTO box SELECT generate_series(1, 3)")
    done = town.sweep()
    assert done.is_completed(), "a look that was taken is no failure, whatever it found"
    assert town.told() == [
        ("begins", f"a migration failed: {town.name(1)}"),
        ("begins", f"full: {town.name(2)}"),
    ]
    found: Sweep = done.result()
    assert [one.target.name for one in found.targets] == [town.name(1), town.name(2), town.name(0)]
    shown = artifacts_of(done.state_details.flow_run_id)
    rows = json.loads(str(shown["health-town-targets"].data))
    assert [(one["target"], one["state"]) for one in rows] == [
        (town.name(1), "critical"),
        (town.name(2), "high"),
        (town.name(0), "well"),
    ]
    assert "failed: 0001" in str(shown["health-town"].data)
    assert town.metrics() == 0
    numbers = town.numbers()
    assert [numbers[f'squizzle_targets{{"{state}"}}'] for state in ("healthy", "unhealthy", "unreachable")] == [1, 2, 0]
    assert (numbers['squizzle_alerts_firing{"critical"}'], numbers['squizzle_alerts_firing{"low"}']) == (1, 0)
    assert (numbers["squizzle_migrations_failed{}"], numbers["squizzle_migrations_pending{}"]) == (1, 6)
    assert 0 <= numbers["squizzle_metrics_timestamp_seconds{}"] - numbers["squizzle_sweep_timestamp_seconds{}"] < 600

    with town.control() as control:
        # Somebody else looks at this very moment.
        control.execute("SELECT pg_advisory_lock(%s, hashtext('town'))", (0x53515A48,))
        with pytest.raises(LockTimeoutError, match="somebody else looks at town"):
            town.sweep().result()
        control.execute("SELECT pg_advisory_unlock_all()")
        # As if ten minutes had gone by since it was last seen.
        control.execute("UPDATE squizzle.alert SET last_not_false = last_not_false - interval '11 minutes'")
    with town.session(1) as session, town.session(2) as other:
        other.execute("TRUNCATE box")
        session.execute("UPDATE squizzle_history SET success = true")
    assert town.sweep().is_completed()
    assert town.told() == [
        ("ends", f"a migration failed: {town.name(1)} is well again"),
        ("ends", f"full: {town.name(2)} is well again"),
    ]

    was_an_incident(town, capsys)


def was_an_incident(town: Town, capsys: pytest.CaptureFixture[str]) -> None:
    """The critical alert was, from its beginning until a sweep found the target well; and it has a post-mortem."""
    verb = ["incidents", "town", "--json", "--config", str(town.folder / "squizzle.toml")]
    assert run(verb) == 0
    (incident,) = json.loads(capsys.readouterr().out.splitlines()[-1])["incidents"]
    assert (incident["target"], incident["cause"]) == (town.name(1), "a migration failed (failed: 0001)")
    assert run([*verb, "--show", incident["id"]]) == 0
    events = json.loads(capsys.readouterr().out.splitlines()[-1])["events"]
    assert [one["kind"] for one in events] == ["opened", "alert begins", "alert is over", "closed"]
    assert events[0]["at"].endswith("+00:00")
    nowhere = BackupFolder(path=town.folder / "nowhere")
    nowhere.save("sweep-nowhere")
    looked: Sweep = town.sweep(tell=False, store=nowhere).result()
    assert {one.rule.name for one in looked.targets[-1].unknown} == {"no fresh backup", "no proven restore"}

    written = write_postmortem(incident["id"], "town", configuration=town.folder / "squizzle.toml", return_state=True)
    assert written.is_completed(), written.message
    shown = artifacts_of(written.state_details.flow_run_id)
    text = str(shown[f"postmortem-{incident['id']}"].data)
    assert "# Post-Mortem: a migration failed (failed: 0001)" in text
    lines = [line for line in text.splitlines() if "opened" in line or "migration 0001" in line or "closed" in line]
    assert ["migration 0001 (bad)" in line for line in lines[:3]] == [True, False, False], lines
    assert "**still open**" not in text
    assert "_to be filled in_" in text
    with pytest.raises(InvalidInputError, match="there is no incident 'gone' of town"):
        write_postmortem("gone", "town", configuration=town.folder / "squizzle.toml")


def test_a_target_that_is_gone_an_account_that_is_full_and_a_rule_that_fails_are_results(
    town: Town, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (town.folder / "squizzle.toml").read_text(encoding="utf-8")
    more = f"""
[fleets.town.servers.gone]
url = "{GONE}"
[[fleets.town.targets]]
server = "gone"
database = "lost"
"""
    pinned = text.replace("[fleets.town]", '[fleets.town]\npinned = ["gone/*"]')
    (town.folder / "squizzle.toml").write_text(pinned + more, encoding="utf-8")
    with town.session(0) as session:
        session.execute("DROP TABLE box")
    silenced = ["silence", "town", "--target", "gone/*", "--for", "1h", "--reason", "it moves"]
    config = ["--config", str(town.folder / "squizzle.toml")]
    # Its first canary is the one that is gone, so the control database is named.
    url = ["--url", f"postgresql://{town.access.user}@/{town.prefix}_1?host={town.access.host}&port={town.access.port}"]
    assert run([*silenced, *config, *url]) == 0
    blind = town.sweep()
    assert blind.is_failed()
    assert town.metrics() == 3, "the file says so, and the exit code"
    assert town.numbers()["squizzle_control_up{}"] == 0
    assert "alerts cannot be kept" in blind.message
    assert town.told() == [("begins", "town: alerts cannot be kept, 1 targets are not well")]

    assert run(["health", "town", *config, "--json"]) == 1
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    by_name = {one["name"]: one for one in found["targets"]}
    assert by_name["gone/lost"]["reached"] is False
    assert by_name["gone/lost"]["alerts"][0]["name"] == "cannot be reached"
    assert by_name[town.name(0)]["alerts"] == [
        {"name": "full", "severity": "high", "state": "unknown", "detail": 'relation "box" does not exist'}
    ]
    assert by_name[town.name(1)]["ok"] is True
    assert by_name[town.name(1)]["metrics"]["connections_most"] > 0
    assert by_name[town.name(1)]["metrics"]["disk_free_bytes"] == 10**12
    assert by_name[town.name(1)]["metrics"]["checkpoints_timed"] >= 0
