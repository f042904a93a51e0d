"""A failed migration is taken back by itself where that is safe, once; else a person is told, and nothing is done."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL

from flows.auto_recover import auto_recover
from squizzle.backups.change_log.switching import enable
from squizzle.cli.main import run
from squizzle.errors import ConnectionFailedError
from squizzle.incidents.attempts import Attempt, AttemptOutcome
from squizzle.incidents.ledger import read_incident, read_incidents
from squizzle.incidents.records import EventKind
from squizzle.migrations.history import ensure_history, read_history
from squizzle.migrations.records import RowState
from squizzle.postgres.access import ServerAccess, connect
from squizzle.postgres.identity import Target
from squizzle.rollout.ledger import RolloutRow, begin_rollout, end_rollout, fleet_lock
from tasks.outcome import report_of
from tests.flows.conftest import artifacts_of
from tests.support.killed import mortal
from tests.support.processes import wait_until
from tests.support.town import HOOK, Town, a_town

pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning")]
# Two pieces stay, the third fails. Where there is such a table, the first one fails.
UP = "CREATE TABLE new (i int);\nCREATE INDEX CONCURRENTLY new_i ON new (i);\nSELECT 1 / 0;\n"
DOWN = "SELECT 1 / count(*) FROM goods WHERE id = 2;\nDROP TABLE new;\n"


class Failed(Town):
    """Three databases in which 0002 failed: one comes back, the script of one fails, one has nothing of it."""

    def recover(self, **options: Any) -> Any:
        arguments = {"policy": "safe", **options}
        return auto_recover("town", configuration=self.settings, return_state=True, **arguments)

    def by_target(self, state: Any) -> list[Attempt]:
        attempts: tuple[Attempt, ...] = report_of(state)
        return sorted(attempts, key=lambda one: one.incident.target)

    def tables(self) -> list[tuple[bool, str]]:
        """Whether the new table is there, and the newest row of the history, at each."""
        found = []
        for number in range(3):
            with self.session(number) as session:
                found += session.execute(
                    "SELECT to_regclass('new') IS NOT NULL, direction || ' ' || success FROM squizzle_history"
                    " ORDER BY id DESC LIMIT 1"
                ).fetchall()
        return found

    def told(self) -> list[tuple[str, str]]:
        """What was said since the last time about incidents and failed migrations; a sweep may find something else."""
        return [
            (one["moment"], one["severity"])
            for one in self.heard()
            if one["key"].startswith("incident-") or one["title"].startswith("a migration failed")
        ]


class Looking(list[tuple[str, dict[str, str], bytes]]):
    """What was posted; at each it is looked how many incidents are open."""

    def __init__(self, town: Failed) -> None:
        super().__init__()
        self.town = town
        self.open: list[int] = []

    def append(self, post: tuple[str, dict[str, str], bytes]) -> None:
        with self.town.session(2) as control:
            found = control.execute("SELECT count(*) FROM squizzle.incident WHERE closed_at IS NULL").fetchone()
        self.open.append(found[0] if found else 0)
        super().append(post)


@pytest.fixture
def town(access: ServerAccess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Failed]:
    store = f'[backups]\nstore = "{tmp_path}/backups"'
    with a_town(Failed, access, tmp_path, store, fleet='pinned = ["one/PREFIX_2"]') as made:
        monkeypatch.setenv(HOOK, made.ear.url)
        made.migration("0001_a", "CREATE TABLE a (i int)", "DROP TABLE a")
        made.migration("0002_new", UP, DOWN)
        for number in range(3):
            with made.session(number) as session:
                session.execute("CREATE TABLE goods AS SELECT n AS id FROM generate_series(1, 3) n")
                session.execute("DELETE FROM goods WHERE id = 2 AND %s", (number == 1,))
                if number == 2:
                    session.execute("CREATE TABLE new (i int)")
            where = [*made.config, *made.url(number)]
            assert run(["apply", "0001", *where]) == 0
            if number != 2:
                assert run(["backup", "full", *where]) == 0
            assert run(["apply", "0002", *where]) != 0
        yield made


@pytest.fixture
def logged(access: ServerAccess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Failed]:
    """A script that has no way back failed behind an UPDATE: of a table that is logged, and of one that is not."""
    store = f'[backups]\nstore = "{tmp_path}/backups"'
    with a_town(Failed, access, tmp_path, store, fleet='pinned = ["one/PREFIX_2"]') as made:
        monkeypatch.setenv(HOOK, made.ear.url)
        made.migration("0001_a", "CREATE TABLE a (i int)", "DROP TABLE a")
        made.migration("0002_dear", "UPDATE goods SET cents = cents * 2;\nVACUUM goods;\nSELECT 1 / 0;\n")
        for number, name in enumerate(("goods", "others")):
            with made.session(number) as session:
                session.execute(
                    "CREATE TABLE goods (id int PRIMARY KEY, cents int); CREATE TABLE others (id int PRIMARY KEY);"
                    " INSERT INTO goods SELECT n, n FROM generate_series(1, 3) n"
                )
                enable(session, Target(database=session.info.dbname), (("public", name),), on_wait=print)
            where = [*made.config, *made.url(number)]
            assert run(["apply", "0001", *where]) == 0
            assert run(["backup", "full", *where]) == 0
            assert run(["apply", "0002", *where]) != 0
        yield made


GOODS = b"SELECT string_agg(id || ':' || cents, ' ' ORDER BY id) FROM goods"


def test_what_a_script_did_to_rows_is_undone_by_the_change_log_and_nothing_else(logged: Failed) -> None:
    with logged.session(2) as control:
        row = RolloutRow(
            id="r1",
            fleet="town",
            versions=(),
            stage_of={logged.name(0): "all"},
            started_at=datetime.now(UTC),
            started_by="ann",
        )
        begin_rollout(control, row)
        rolled_out, left = logged.by_target(logged.recover())
        end_rollout(control, "r1", "done")
    assert (rolled_out.outcome, "the rollout r1 has not ended" in rolled_out.why) == (AttemptOutcome.NOT_NOW, True)
    assert left.outcome is AttemptOutcome.LEFT
    assert "undo: no table that the change log covers is damaged" in left.why
    open_again = logged.settings.read_text(encoding="utf-8")
    freeze = '\n[[fleets.town.freezes]]\nfrom = 2020-01-01T00:00:00Z\nreason = "sales"\n'
    logged.settings.write_text(open_again + freeze, encoding="utf-8")
    frozen, _ = logged.by_target(logged.recover())
    assert (frozen.outcome, "sales" in frozen.why) == (AttemptOutcome.NOT_NOW, True)
    logged.settings.write_text(open_again, encoding="utf-8")
    with logged.session(0) as client:
        client.execute("INSERT INTO goods VALUES (4, 44)")

    done, _ = logged.by_target(logged.recover())

    assert done.outcome is AttemptOutcome.TAKEN_BACK, done.why
    assert done.why.startswith("by the change log: 3 rows in 1 table are as they were before 0002")
    with logged.session(0) as session:
        assert session.execute(GOODS).fetchone() == ("1:1 2:2 3:3 4:44",)
        assert read_history(session, "public").in_state(RowState.FAILED) == ()
    with logged.session(1) as session:
        assert session.execute(GOODS).fetchone() == ("1:2 2:4 3:6",)


def test_what_is_safe_is_taken_back_once_and_what_fails_is_left_to_a_person(
    town: Failed, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = [(True, "apply false")] * 3
    assert town.tables() == failed
    # Off unless somebody said so; and away while somebody says hands off, or a rollout works.
    assert town.recover(policy="as_configured").result() == ()
    assert run(["hands-off", "town", "--target", "*_0", "--for", "1h", "--reason", "by hand", *town.config]) == 0
    with fleet_lock(lambda: town.session(2), "town"):
        away = town.recover().result()
    assert [one.outcome for one in away] == [AttemptOutcome.NOT_NOW] * 3
    assert (town.tables(), town.told()) == (failed, [])
    with town.session(1) as person:
        person.execute("SET application_name = 'psql'")
        kept, busy, clean = town.by_target(town.recover())
    assert (kept.outcome, kept.why.partition(" ")[0]) == (AttemptOutcome.NOT_NOW, "hands")
    assert (busy.outcome, "somebody is at work" in busy.why) == (AttemptOutcome.NOT_NOW, True)
    assert clean.outcome is AttemptOutcome.TAKEN_BACK, clean.why
    assert town.told() == [("said", "low")]

    state = town.recover(shut_otherwise=True)
    _, bad = town.by_target(state)
    assert (state.is_failed(), bad.outcome, "division by zero" in bad.why) == (True, AttemptOutcome.FAILED, True)
    with pytest.raises(ConnectionFailedError):
        town.session(1)
    # What the message says lets clients in.
    holder = bad.incident.id
    assert bad.notes == (f"clients are kept out; `squizzle unfence --as {holder}` lets them in",)
    assert run(["unfence", "--as", holder, *town.config, *town.url(1)]) == 0
    left = [(True, "apply false"), (True, "rollback false"), (True, "rollback true")]
    assert (town.tables(), town.told()) == (left, [("begins", "critical")])
    shown = artifacts_of(state.state_details.flow_run_id)
    assert "Try the down script" in str(shown[f"auto-recovery-one-{town.prefix.replace('_', '-')}-1"].data)

    with town.session(2) as control:
        # As a run leaves it that is killed before it told anybody.
        control.execute("UPDATE squizzle.incident SET is_told = false; UPDATE squizzle.silence SET ended_at = now()")
    # What a sweep finds it takes back where the fleet says so; what was tried is not tried again.
    settings = town.settings
    text = settings.read_text(encoding="utf-8").replace("[fleets.town]", '[fleets.town]\nauto_recover = "safe"')
    settings.write_text(text, encoding="utf-8")
    # Nobody waits for long to hear of one target because others are taken back before it.
    monkeypatch.setattr("flows.sweep_health._HELD_FOR", timedelta())
    assert town.sweep().is_completed()
    assert town.tables() == [(False, "rollback true"), (True, "rollback false"), (True, "rollback true")]
    assert town.told() == [("said", "low"), ("begins", "critical"), ("begins", "critical")]
    with town.session(2) as control:
        incidents = {one.target: one for one in read_incidents(control, "town")}
        _, events = read_incident(control, "town", incidents[town.name(0)].id)
    assert [one.closed_at is None for one in incidents.values()].count(True) == 1
    began = [one for one in events if one.kind is EventKind.ALERT_BEGINS]
    assert "a migration failed (failed: 0002), critical" in [one.text for one in began]
    # Twice something kept it away: a rollout, then hands off.
    done = [EventKind.VERDICT, EventKind.VERDICT, EventKind.ACTION, EventKind.VERDICT]
    kinds = [one.kind for one in events if one not in began]
    assert kinds == [EventKind.OPENED, *done, EventKind.TOLD, EventKind.CLOSED]
    assert all(one.at.utcoffset() == timedelta() for one in events)

    _a_person_puts_it_right(town)


def _a_person_puts_it_right(town: Failed) -> None:
    """The next sweep closes what is left, and whoever was told hears it."""
    with town.session(1) as session:
        session.execute("DROP TABLE new; UPDATE squizzle_history SET success = true WHERE direction = 'rollback'")
    town.ear.posts = posts = Looking(town)
    assert town.sweep().is_completed()
    assert town.told() == [("ends", "critical")]
    # It was open while that was said, so that of a run that dies before it is heard the next one tells.
    assert set(posts.open) == {1}
    with town.session(2) as control:
        assert [one for one in read_incidents(control, "town") if one.closed_at is None] == []


def test_of_many_targets_people_are_told_once_and_once_more_when_the_last_is_well(
    access: ServerAccess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = 'pinned = ["one/PREFIX_0"]\nauto_recover = "safe"'
    with a_town(Failed, access, tmp_path, "", fleet=fleet, databases=4) as town:
        monkeypatch.setenv(HOOK, town.ear.url)
        town.migration("0001_a", "SELECT 1;")
        for number in range(4):
            with town.session(number) as session:
                ensure_history(session, "public")
                session.execute(
                    "INSERT INTO squizzle_history (version, name, direction, success, applied_by)"
                    " VALUES ('0001', 'a', 'rollback', false, 'test')"
                )

        assert town.sweep().is_completed()
        (begin,) = town.heard()
        assert begin["title"] == "4 targets: migrations failed, and a person has to look"
        assert {"name": "why", "value": "taking back 0001 failed before"} in begin["facts"]
        for well in (range(3), [3]):
            for number in well:
                with town.session(number) as session:
                    session.execute("UPDATE squizzle_history SET success = true")
            assert town.heard() == []
            assert town.sweep().is_completed()
        (end,) = town.heard()
        assert (end["key"], end["moment"]) == (begin["key"], "ends")
        assert end["title"] == f"{town.name(3)} is well again, the last of several"


@pytest.mark.chaos
def test_of_two_at_once_one_stays_away_and_of_one_that_is_killed_a_person_hears(town: Failed, tmp_path: Path) -> None:
    town.sweep()
    town.heard()
    (town.folder / "migrations" / "0002_new" / "down.sql").write_text(
        "SELECT pg_advisory_xact_lock(7);\nDROP TABLE new;\n", encoding="utf-8"
    )
    theirs = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'squizzle%%'"
        " AND application_name <> 'squizzle test' AND datname LIKE %s"
    )
    given = {"settings": str(town.settings), "dies": str(tmp_path / "dies")}
    with (
        pytest.MonkeyPatch.context() as patch,
        connect(town.access, f"{town.prefix}_0", purpose="test") as holder,
        ThreadPoolExecutor(1) as pool,
    ):
        patch.setenv("PREFECT_API_URL", str(PREFECT_API_URL.value()))
        with mortal("tests.support.recovering", tmp_path) as one:
            holder.execute("SELECT pg_advisory_lock(7)")
            first = pool.submit(one.run, "recover", **given)
            waits = (
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'squizzle rollback' AND datname = %s"
            )
            wait_until(
                lambda: holder.execute(waits, (f"{town.prefix}_0",)).fetchone() != (0,), "the first one is in its try"
            )

            try:
                seconds = town.by_target(town.recover())
            finally:
                Path(given["dies"]).touch()

            assert {one.outcome for one in seconds} == {AttemptOutcome.NOT_NOW}
            assert "somebody else rolls out to town now" in seconds[0].why
            assert first.result().was_killed
        holder.execute("SELECT pg_advisory_unlock(7)")
        wait_until(lambda: holder.execute(theirs, (f"{town.prefix}%",)).fetchone() == (0,), "its sessions are gone")

    # No script has failed: one has not ended, which is no reason to say that all is well.
    assert town.tables()[0] == (True, None)
    assert town.sweep().is_completed()
    left, *_ = town.by_target(town.recover())

    assert (left.outcome, left.why) == (
        AttemptOutcome.LEFT, "a try began before, and nobody was told how it ended"
    )  # fmt: skip
    assert ("begins", "critical") in town.told()
    assert town.by_target(town.recover()) == [], "once, and no sweep says that all is well"
