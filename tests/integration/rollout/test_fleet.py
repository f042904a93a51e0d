"""Fleets on a real server: forty databases, forty schemas of one, and everything that is wrong with some of them."""

from __future__ import annotations

import re
import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from squizzle.errors import ConnectionFailedError, InvalidInputError
from squizzle.migrations.history import ensure_history
from squizzle.migrations.records import Migration
from squizzle.postgres.access import ServerAccess, connect
from squizzle.postgres.identity import ExpectedIdentity, ensure_identity
from squizzle.rollout.deadlines import Deadlines
from squizzle.rollout.discovery import discover_fleet
from squizzle.rollout.disk import FreeSpace, check_disks
from squizzle.rollout.orders import RolloutOrder
from squizzle.rollout.records import Fleet, FleetTarget, TargetReport, TargetState
from squizzle.rollout.survey import stopping, survey_fleet
from squizzle.settings.fleets import (
    DatabasesByName,
    Exclusion,
    FleetQuery,
    FleetServer,
    FleetSettings,
    ListedTarget,
    Pattern,
    SchemasByName,
)
from tests.integration.cli.conftest import Squizzle, url_of
from tests.integration.migrations.conftest import Folder
from tests.support.ready_command import ReadyCommand
from tests.support.scratch import drop_databases

pytestmark = pytest.mark.one_server
APPLIED = "INSERT INTO {}.squizzle_history (version, name, success, direction) VALUES ('0001', 'a', true, 'apply')"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Forty databases `<prefix>_00` to `_39`, every other one with version 0001, and some that are not to be found.

    `<prefix>_app` has forty schemas `tenant_00` to `tenant_39`, the first ten with version 0001.
    """

    access: ServerAccess
    prefix: str

    @property
    def server(self) -> FleetServer:
        return FleetServer(name="one", url=url_of(self.access, "postgres"), labels=(("region", "eu"),))

    def settings(self, **more: Any) -> FleetSettings:
        settings = FleetSettings(name="shops", environment="production", servers={"one": self.server})
        return replace(settings, **more)

    def by_name(self, **more: Any) -> FleetSettings:
        return self.settings(databases=DatabasesByName(pattern=Pattern(regex=rf"^{self.prefix}_[0-9x]+$"), **more))


@pytest.fixture(scope="module")
def place(access: ServerAccess) -> Iterator[Place]:
    prefix = f"fleet{secrets.token_hex(3)}"
    with connect(access, "postgres", purpose="test") as control:

        def create(name: str, template: str = "template0") -> None:
            control.execute(
                sql.SQL("CREATE DATABASE {} STRATEGY file_copy TEMPLATE {}").format(
                    sql.Identifier(f"{prefix}_{name}"), sql.Identifier(template)
                )
            )

        try:
            create("seed")
            with connect(access, f"{prefix}_seed", purpose="test") as seed:
                ensure_history(seed, "public")
                seed.execute(APPLIED.format("public").encode())
            for number in range(40):
                create(f"{number:02}", "template0" if number % 2 else f"{prefix}_seed")
            create("app")
            with connect(access, f"{prefix}_app", purpose="test") as app:
                for number in range(40):
                    app.execute(f"CREATE SCHEMA tenant_{number:02}".encode())
                for number in range(10):
                    ensure_history(app, f"tenant_{number:02}")
                    app.execute(APPLIED.format(f"tenant_{number:02}").encode())
            for name, change in (
                ("x1", "WITH ALLOW_CONNECTIONS false"),
                ("x2", "WITH IS_TEMPLATE true"),
                ("x3", ""),
            ):
                create(name)
                if change:
                    control.execute(f"ALTER DATABASE {prefix}_{name} {change}".encode())
            control.execute(f"COMMENT ON DATABASE {prefix}_x3 IS 'squizzle: kept, was shop'".encode())
            yield Place(access=access, prefix=prefix)
        finally:
            control.execute(f"ALTER DATABASE {prefix}_x2 WITH IS_TEMPLATE false".encode())
            drop_databases(control, prefix)


@pytest.fixture(scope="module")
def migrations(tmp_path_factory: pytest.TempPathFactory) -> tuple[Migration, ...]:
    return two_versions(tmp_path_factory.mktemp("project") / "migrations").read()


def two_versions(path: Path) -> Folder:
    folder = Folder(path)
    folder.write("0001", "CREATE TABLE t (a int)")
    folder.write("0002", "ALTER TABLE t ADD COLUMN b int")
    return folder


def discover(settings: FleetSettings) -> Fleet:
    return discover_fleet(settings, default_schema="public", environ={})


def survey(settings: FleetSettings, migrations: tuple[Migration, ...]) -> dict[str, TargetReport]:
    reports = survey_fleet(discover(settings), settings, migrations, environ={})
    return {report.target.database: report for report in reports}


def test_databases_are_found_by_name_without_what_nobody_may_migrate(place: Place) -> None:
    fleet = discover(place.by_name(sizes=True))

    assert [target.name for target in fleet.targets] == [f"one/{place.prefix}_{number:02}" for number in range(40)]
    assert {target.labels for target in fleet.targets} == {(("region", "eu"),)}
    assert all(target.size and target.size > 10**6 for target in fleet.targets)
    assert [(one.target.database, one.reason) for one in fleet.excluded] == [
        (f"{place.prefix}_x3", "squizzle: kept, was shop")
    ]


def test_everybody_is_looked_at(place: Place, migrations: tuple[Migration, ...]) -> None:
    reports = survey(place.by_name(), migrations)

    assert {report.state for report in reports.values()} == {TargetState.READY}
    assert [report.version for report in reports.values()] == ["0001", None] * 20
    assert {report.pending for report in reports.values()} == {("0002",), ("0001", "0002")}


def test_schemas_are_found_and_looked_at(place: Place, migrations: tuple[Migration, ...]) -> None:
    source = SchemasByName(server="one", database=f"{place.prefix}_app", pattern=Pattern(like=r"tenant\_%"))
    settings = place.settings(
        schemas=source, targets=(ListedTarget(server="one", database=f"{place.prefix}_app", schema="none"),)
    )
    reports = survey_fleet(discover(settings), settings, migrations, environ={})

    assert [report.target.name.rpartition("/")[2] for report in reports] == [
        "none",
        *(f"tenant_{number:02}" for number in range(40)),
    ]
    assert (reports[0].state, reports[0].detail) == (TargetState.UNUSABLE, "has no schema none")
    assert [report.version for report in reports[1:]] == ["0001"] * 10 + [None] * 30
    assert len({report.place for report in reports}) == 41


def test_a_control_database_says_who_is_in_the_fleet(place: Place) -> None:
    query = (
        "SELECT 'one' AS server, 't' || n AS database, 'T' || n AS name, n::numeric AS size, n % 2 AS tier,"
        " n = 3 AS pinned, 'gold' AS plan, NULL AS note FROM generate_series(1, 3) n"
    )
    fleet = discover(
        place.settings(
            query=FleetQuery(server="one", sql=query),
            pinned=("T2", "nobody*"),
            exclusions=(
                Exclusion(target="T1", reason="asked for"),
                Exclusion(labels=(("plan", "lead"),), reason="cheap"),
            ),
        )
    )

    assert [(one.name, one.database, one.size, one.tier, one.pinned) for one in fleet.targets] == [
        ("T2", "t2", 2, 0, True),
        ("T3", "t3", 3, 1, True),
    ]
    assert fleet.targets[0].labels == (("plan", "gold"), ("region", "eu"))
    assert [(one.target.name, one.reason) for one in fleet.excluded] == [("T1", "asked for")]
    assert fleet.remarks == (
        "no target is called nobody*, which is pinned",
        "nothing is excluded by {'plan': 'lead'} (cheap)",
    )


def bad_query(text: str) -> dict[str, Any]:
    return {"query": FleetQuery(server="one", sql=text)}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (bad_query("SELECT nonsense"), "fleets.shops.query failed: column"),
        (bad_query("DELETE FROM pg_class"), "fleets.shops.query failed: cannot execute DELETE in a read-only"),
        (bad_query("SELECT 'one' AS server"), "gives no column database"),
        (bad_query("SELECT 'two' AS server, 'a' AS database"), "row 1 has server 'two'"),
        (bad_query("SELECT 'one' AS server, NULL AS database"), "row 1 has no database"),
        (bad_query("SELECT 'one' AS server, 'a' AS database, -1 AS size"), "row 1 has a size that is no whole"),
        (bad_query("SELECT 'one' AS server, 'a' AS database FROM generate_series(1, 2)"), "one/a/public is there twice"),
        (bad_query("SELECT 'one' AS server, 'a' || n AS database, 'x' AS name FROM generate_series(1, 2) n"), "two targets are called x"),
        (bad_query("SELECT 'one' AS server, 'a' AS database WHERE false"), "the fleet shops has no target"),
        ({"databases": DatabasesByName(pattern=Pattern(regex="("))}, "has a pattern that the server does not take"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_fleet_is_refused(place: Place, more: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        discover(place.settings(**more))

    assert said in caught.value.message


def test_one_database_that_is_reached_by_two_names_is_refused(place: Place, migrations: tuple[Migration, ...]) -> None:
    settings = replace(place.by_name(), servers={"one": place.server, "two": replace(place.server, name="two")})

    with pytest.raises(InvalidInputError, match="one and the same database") as caught:
        survey(settings, migrations)
    assert f"one/{place.prefix}_00 and two/{place.prefix}_00" in caught.value.message
    assert "(and 30 more)" in caught.value.message


def test_whoever_cannot_be_migrated_is_told_and_disturbs_nobody(
    place: Place, migrations: tuple[Migration, ...]
) -> None:
    foreign, locked, fine = (f"{place.prefix}_{number:02}" for number in (1, 2, 3))
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    settings = place.settings(
        servers={"one": place.server, "gone": FleetServer(name="gone", url=f"postgresql://127.0.0.1:{port}/postgres")},
        deadline=timedelta(seconds=1),
        per_server=1,
        targets=tuple(
            ListedTarget(server=server, database=database)
            for server, databases in (("one", (foreign, locked, fine, "nobody")), ("gone", ("a", "b", "c")))
            for database in databases
        ),
    )
    with (
        connect(place.access, foreign, purpose="test") as other,
        connect(place.access, locked, purpose="test") as holder,
    ):
        ensure_identity(other, ExpectedIdentity(environment="staging"), database=foreign)
        holder.execute("BEGIN")
        holder.execute("LOCK squizzle_history")
        try:
            reports = survey(settings, migrations)
        finally:
            holder.execute("ROLLBACK")
            other.execute("DROP SCHEMA squizzle CASCADE")

    states = {database: report.state for database, report in reports.items()}
    unreachable = dict.fromkeys((locked, "nobody", "a", "b", "c"), TargetState.UNREACHABLE)
    assert states == {foreign: TargetState.OTHER_ENVIRONMENT, fine: TargetState.READY, **unreachable}
    assert "environment is staging, expected production" in reports[foreign].detail
    assert reports[locked].detail == "no answer within 1 s"
    assert "has no database 'nobody'" in reports["nobody"].detail
    assert reports["a"].detail.startswith("no connection to database")
    assert reports["c"].detail == f"not tried: {reports['a'].detail}"
    stops = stopping(reports.values(), exclude_unreachable=True)
    assert [report.target.database for report in stops] == [foreign]
    assert len(stopping(reports.values(), exclude_unreachable=False)) == 6


def test_a_session_is_cut_when_its_time_is_up_whatever_the_server_does(place: Place) -> None:
    with (
        connect(place.access, "postgres", purpose="test") as connection,
        Deadlines(look_every_s=0.01) as deadlines,
        deadlines.limit(connection, 0.1) as limit,
    ):
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT pg_sleep(20)")
        assert limit.passed


def test_a_server_that_cannot_be_asked_is_told_and_an_empty_fleet_because_of_it_is_no_empty_fleet(
    place: Place,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        gone = FleetServer(name="gone", url=f"postgresql://127.0.0.1:{closed.getsockname()[1]}/postgres")
    both = replace(place.by_name(), servers={"one": place.server, "gone": gone})

    fleet = discover(both)

    assert (len(fleet.targets), [one.server for one in fleet.unreachable]) == (40, ["gone"])
    with pytest.raises(ConnectionFailedError, match="no target of the fleet shops could be found: gone: "):
        discover(replace(both, databases=DatabasesByName(pattern=Pattern(like="%"), servers=("gone",))))


STAGES = """\
production_rollout:
  stages:
    - {name: canary, percentage: 5, duration: 30m, rollback_on_error: true}
    - {name: partial, percentage: 25, duration: 2h, rollback_on_error: true}
    - {name: full, percentage: 100, approval_required: true}
"""


def test_the_command_shows_who_would_be_migrated_when(place: Place, tmp_path: Path, ready: ReadyCommand) -> None:
    two_versions(tmp_path / "migrations")
    (tmp_path / "stages.yaml").write_text(STAGES, encoding="utf-8")
    squizzle = Squizzle(place=tmp_path, ready=ready)
    squizzle.configure(f"""
[fleets.shops]
environment = "production"
pinned = ["one/{place.prefix}_07"]
[fleets.shops.servers.one]
url = "{place.server.url}"
[fleets.shops.databases]
regex = "^{place.prefix}_[0-9x]+$"
[[fleets.shops.targets]]
server = "one"
database = "nobody"
[[fleets.shops.freezes]]
from = 2020-01-01T00:00:00Z
reason = "audit"
""")

    listed = squizzle("fleet", "shops", "--stages", "stages.yaml", "--json")
    planned = squizzle("fleet", "shops", "--stages", "stages.yaml", "--plan")

    assert (listed.code, planned.code) == (0, 0), listed.err + planned.err
    targets = {target["database"].rpartition("_")[2]: target for target in listed.document["targets"]}
    assert (targets["07"]["stage"], targets["07"]["version"], targets["08"]["version"]) == ("canary", None, "0001")
    plan = listed.document["plan"]
    assert [len(stage["targets"]) for stage in plan["stages"]] == [2, 8, 31]
    assert plan["versions"] == ["0001", "0002"]
    (stop,) = plan["stopped_by"]
    assert stop.startswith("one/nobody: UNREACHABLE: ")
    assert f"it would not begin, because of\n  {stop}" in planned.out
    # Who cannot be asked is not done.
    assert re.search(r"^full +100 % +31 +0 ", planned.out, re.MULTILINE)
    assert f"digest {plan['digest']}" in planned.out
    assert "canary   5 %    2" in planned.out
    assert "when it is lifted, frozen until further notice: audit" in planned.out
    for arguments, said in (
        (("nobody",), "there is no fleet 'nobody'; known: shops"),
        (("shops", "--plan"), "a plan needs stages"),
        (("shops", "--env", "x"), "a fleet says itself which databases it has"),
    ):
        done = squizzle("fleet", *arguments, "--json")
        assert (done.code, said in done.error["message"]) == (2, True)


def test_free_space_is_told_where_somebody_can_and_said_to_be_unknown_elsewhere(place: Place) -> None:
    here = place.server
    servers = {
        "here": replace(here, name="here"),
        "asked": replace(here, name="asked", free_bytes_query="SELECT 5000000"),
        "wrong": replace(here, name="wrong", free_bytes_query="SELECT free FROM nowhere"),
        "afar": FleetServer(name="afar", url="postgresql://somebody@db.example/postgres"),
    }
    targets = [FleetTarget(name=name, server=name, database="postgres") for name in servers]
    fleet = Fleet(name="shops", environment=None, servers=servers, targets=tuple(targets))
    reports = [TargetReport(target=one, state=TargetState.READY, pending=("0001",)) for one in targets]
    order = RolloutOrder(rollout_id="", fleet=fleet, migrations=(), versions=("0001",))
    (row,) = check_disks(
        order,
        reports,
        {},
        {},
        deadline=timedelta(seconds=5),
        environ={},
        ask_cloud=lambda host: FreeSpace(free_bytes=None, told_by=f"no cloud has {host}"),
    )

    assert row.ok == 1
    assert [(one.place, one.result.value) for one in row.findings] == [
        ("asked", "stop"),
        ("afar", "not known"),
        ("wrong", "not known"),
    ]
    assert "5.0 MB are free (free_bytes_query); nobody rehearsed what it needs" in row.sentence()
    assert "no cloud has db.example" in row.sentence()
    assert 'relation "nowhere" does not exist' in row.sentence()
