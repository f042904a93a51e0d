"""The sweep over a fleet: what is wrong is found, told once, kept, and told when it is over."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from blocks import BackupFolder
from flows.write_postmortem import write_postmortem
from squizzle.cli.main import run
from squizzle.errors import InvalidInputError, LockTimeoutError
from squizzle.frames.sweeps import keep_sweep
from squizzle.migrations.history import ensure_history
from squizzle.postgres.access import Connection, ServerAccess
from squizzle.rollout.records import FleetTarget
from squizzle.sweep.records import Sweep, TargetHealth
from tasks.watched import Sign
from tests.flows.conftest import artifacts_of, wait_for_sign
from tests.support.town import HOOK, Town, a_town

pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning")]
GONE = "postgresql://nobody@127.0.0.1:9/postgres"


class Boxes(Town):
    """Three databases with a box each, which a rule of theirs may find full."""

    def metrics(self) -> int:
        return run(["metrics", "town", *self.config, "--textfile", str(self.prom), "--json"])

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

    def told(self) -> list[tuple[str, str]]:
        """What was said since the last time."""
        return [(one["moment"], one["title"]) for one in self.heard()]


@pytest.fixture
def town(access: ServerAccess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Boxes]:
    (tmp_path / "alerts.yml").write_text(
        "alerts:\n  - {name: full, condition: SELECT count(*) > 2 FROM box, severity: high, notify: [webhook]}\n",
        encoding="utf-8",
    )
    fleet = 'deadline = "10s"\nwatch.alerts = ["alerts.yml"]'
    with a_town(Boxes, access, tmp_path, '[notify]\nrunbook = "https://wiki/runbook"', fleet=fleet) as made:
        monkeypatch.setenv(HOOK, made.ear.url)
        for version in ("0001_bad", "0002_good"):
            made.migration(version, "SELECT 1;")
        for number in range(3):
            with made.session(number) as session:
                session.execute("CREATE TABLE box (i int)")
        yield made


def test_what_is_wrong_is_told_once_with_the_worst_first_and_told_when_it_is_over(
    town: Boxes, capsys: pytest.CaptureFixture[str]
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


def was_an_incident(town: Boxes, capsys: pytest.CaptureFixture[str]) -> None:
    """The critical alert was, from its beginning until a sweep found the target well; and it has a post-mortem."""
    verb = ["incidents", "town", "--json", *town.config]
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

    written = write_postmortem(incident["id"], "town", configuration=town.settings, return_state=True)
    assert written.is_completed(), written.message
    shown = artifacts_of(written.state_details.flow_run_id)
    text = str(shown[f"postmortem-{incident['id']}"].data)
    assert "# Post-Mortem: a migration failed (failed: 0001)" in text
    lines = [line for line in text.splitlines() if "opened" in line or "migration 0001" in line or "closed" in line]
    assert ["migration 0001 (bad)" in line for line in lines[:3]] == [True, False, False], lines
    assert "**still open**" not in text
    assert "_to be filled in_" in text
    with pytest.raises(InvalidInputError, match="there is no incident 'gone' of town"):
        write_postmortem("gone", "town", configuration=town.settings)


def test_a_target_that_is_gone_an_account_that_is_full_and_a_rule_that_fails_are_results(
    town: Boxes, capsys: pytest.CaptureFixture[str]
) -> None:
    text = town.settings.read_text(encoding="utf-8")
    more = f"""
[fleets.town.servers.gone]
url = "{GONE}"
[[fleets.town.targets]]
server = "gone"
database = "lost"
"""
    pinned = text.replace("[fleets.town]", '[fleets.town]\npinned = ["gone/*"]')
    town.settings.write_text(pinned + more, encoding="utf-8")
    with town.session(0) as session:
        session.execute("DROP TABLE box")
    silenced = ["silence", "town", "--target", "gone/*", "--for", "1h", "--reason", "it moves"]
    # Its first canary is the one that is gone, so the control database is named.
    assert run([*silenced, *town.config, *town.url(1)]) == 0
    blind = town.sweep()
    assert blind.is_failed()
    assert town.metrics() == 3, "the file says so, and the exit code"
    assert town.numbers()["squizzle_control_up{}"] == 0
    assert "alerts cannot be kept" in blind.message
    assert town.told() == [("begins", "town: alerts cannot be kept, 1 targets are not well")]

    assert run(["health", "town", *town.config, "--json"]) == 1
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


def test_what_was_found_is_kept_in_the_store_and_what_moved_is_shown(
    town: Boxes, capsys: pytest.CaptureFixture[str]
) -> None:
    place = BackupFolder(path=town.folder / "store")
    place.save("sweep-kept")
    opened = place.open()
    for minutes in range(240, 170, -10):  # hours ago, when they were larger
        at = datetime.now(UTC) - timedelta(minutes=minutes)
        targets = tuple(
            TargetHealth(
                target=FleetTarget(name=town.name(number), server="one", database=town.name(number), schema="public"),
                is_reached=True,
                metrics={"size_bytes": 10**12 + minutes},
            )
            for number in range(3)
        )
        keep_sweep(
            opened, Sweep(fleet="town", at=at, duration=timedelta(), targets=targets), at, keep=timedelta(days=1)
        )

    first = town.sweep(store=place)
    again = town.sweep(store=place)
    with town.session(2) as other:
        other.execute("INSERT INTO box SELECT generate_series(1, 3)")
    news = town.sweep(store=place)
    shown = [artifacts_of(one.state_details.flow_run_id) for one in (first, again, news)]
    assert "| size_bytes | " in str(shown[0]["health-town-moved"].data)
    assert "](data:image/png;base64," in str(shown[0]["health-town-moved-picture"].data)
    is_next_hour = first.result().at.hour != again.result().at.hour
    assert ("health-town-moved" in shown[1]) == is_next_hour, "once an hour is enough"
    assert "health-town-moved" in shown[2], "or when an alert begins"

    verb = ["health", "town", *town.config, "--store", str(town.folder / "store"), "--since", "5h", "--json", "--trend"]
    assert run(verb) == 0
    moved = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (moved["sweeps"], moved["problems"]) == (10, [])
    assert (moved["moved"][0]["metric"], moved["moved"][0]["targets"]) == ("size_bytes", 3)
    assert run([*verb, "size_bytes"]) == 0
    course = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {one["name"]: one["sweeps"] for one in course["targets"]} == {town.name(number): 10 for number in range(3)}
    assert course["hours"][0]["most"] == 10**12 + 240
    assert run([*verb, "nonsense"]) == 2
    assert run([*verb, "--since", "0s"]) == 2

    (town.folder / "store" / "sweeps" / "town").rename(town.folder / "elsewhere")
    (town.folder / "store" / "sweeps" / "town").write_text("no folder", encoding="utf-8")
    broken = town.sweep(store=place)
    assert broken.is_completed(), "a look that is not kept was taken all the same"
    assert "this sweep is not kept" in str(artifacts_of(broken.state_details.flow_run_id)["health-town"].data)
