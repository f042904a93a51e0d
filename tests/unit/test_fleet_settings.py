"""`[fleets.NAME]`: what is read, what is refused, and how a server is reached."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from squizzle.config import load_config
from squizzle.errors import InvalidInputError
from squizzle.settings.fleets import (
    DatabasesByName,
    Exclusion,
    FleetQuery,
    FleetServer,
    FleetSettings,
    Freeze,
    ListedTarget,
    Pattern,
    SchemasByName,
    resolve_server,
)
from squizzle.settings.health import HealthLimits
from squizzle.settings.watch import SoakLimits, WatchSettings
from squizzle.sweep.own_rules import own_results

FULL = r"""
[fleets.shops]
environment = "production"
schema = "app"
pinned = ["eu1/shop_internal"]
concurrency = 32
per_server = 8
deadline = "20s"
unreachable = "exclude"
auto_recover = "safe"

[fleets.shops.servers.eu1]
url = "postgresql://migrator@eu1.db/postgres"
password_env = "EU1_PASSWORD"
tier = 1
labels = { region = "eu" }

[fleets.shops.servers.control]
url_env = "CONTROL_URL"

[[fleets.shops.targets]]
server = "eu1"
database = "shop_internal"
schema = "internal"
name = "ours"
tier = 0
size = 10
pinned = true
labels = { ring = "inner" }

[fleets.shops.databases]
like = "shop\\_%"
servers = ["eu1"]
sizes = true

[fleets.shops.schemas]
server = "eu1"
database = "app"
regex = "^tenant_[0-9]+$"

[fleets.shops.query]
server = "control"
sql = "SELECT server, database FROM tenants"

[[fleets.shops.exclude]]
target = "eu1/shop_9*"
labels = { region = "eu" }
reason = "moves to another server"

[[fleets.shops.freezes]]
from = 2026-12-20T00:00:00+01:00
until = 2027-01-06T00:00:00+01:00
reason = "Christmas sales"
"""


def load(tmp_path: Path, text: str) -> FleetSettings:
    file = tmp_path / "squizzle.toml"
    file.write_text(text, encoding="utf-8")
    return load_config(file).fleets["shops"]


def test_every_setting_is_read(tmp_path: Path) -> None:
    assert load(tmp_path, FULL) == FleetSettings(
        name="shops",
        environment="production",
        schema="app",
        servers={
            "eu1": FleetServer(
                name="eu1",
                url="postgresql://migrator@eu1.db/postgres",
                password_env="EU1_PASSWORD",
                tier=1,
                labels=(("region", "eu"),),
            ),
            "control": FleetServer(name="control", url_env="CONTROL_URL"),
        },
        targets=(
            ListedTarget(
                server="eu1",
                database="shop_internal",
                schema="internal",
                name="ours",
                tier=0,
                size=10,
                pinned=True,
                labels=(("ring", "inner"),),
            ),
        ),
        databases=DatabasesByName(pattern=Pattern(like=r"shop\_%"), servers=("eu1",), sizes=True),
        schemas=SchemasByName(server="eu1", database="app", pattern=Pattern(regex="^tenant_[0-9]+$")),
        query=FleetQuery(server="control", sql="SELECT server, database FROM tenants"),
        pinned=("eu1/shop_internal",),
        exclusions=(Exclusion(target="eu1/shop_9*", labels=(("region", "eu"),), reason="moves to another server"),),
        freezes=(
            Freeze(
                begin=datetime.fromisoformat("2026-12-20T00:00:00+01:00"),
                until=datetime.fromisoformat("2027-01-06T00:00:00+01:00"),
                reason="Christmas sales",
            ),
        ),
        concurrency=32,
        per_server=8,
        deadline=timedelta(seconds=20),
        exclude_unreachable=True,
        auto_recover=True,
    )


SERVER = '[fleets.shops.servers.a]\nurl = "postgresql://a/postgres"\n'
LIKE = '[fleets.shops.databases]\nlike = "x"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SERVER, "fleets.shops says nowhere where targets are"),
        ("[fleets]\nshops = 1", "fleets.shops must be a section"),
        (LIKE + "nonsense = 1", "fleets.shops.databases has unknown settings: nonsense"),
        ("[fleets.shops]\nspeed = 1\n" + LIKE, "fleets.shops has unknown settings: speed"),
        ("[fleets.shops]\ndeadline = '10ms'\n" + LIKE, "fleets.shops.deadline must be 1s or longer"),
        ("[fleets.shops]\nauto_recover = 'yes'\n" + LIKE, "fleets.shops.auto_recover must be safe or never"),
        ("[fleets.shops]\nunreachable = 'skip'\n" + LIKE, "fleets.shops.unreachable must be stop or exclude"),
        ("[fleets.shops]\nper_server = 0\n" + LIKE, "fleets.shops.per_server must be a whole number from 1"),
        ("[fleets.shops]\ntargets = 1", "fleets.shops.targets must be a list of sections: [[fleets.shops.targets]]"),
        (LIKE + "regex = 'y'", "fleets.shops.databases give either like or regex"),
        (LIKE + "servers = ['b']", "fleets.shops.databases.servers has 'b', and no [fleets.shops.servers.b]"),
        (SERVER + "password_env = 'X'\nurl_env = 'Y'", "fleets.shops.servers.a give either url or url_env"),
        (SERVER + "tier = -1", "fleets.shops.servers.a.tier must be a whole number from 0"),
        (SERVER + "labels = { a = 1 }", "fleets.shops.servers.a.labels.a must be a text"),
        (SERVER + "[[fleets.shops.targets]]\nserver = 'a'", "fleets.shops.targets (1).database is missing"),
        ("[[fleets.shops.targets]]\ndatabase = 'a'", "fleets.shops.targets (1).server is missing"),
        (LIKE + "[fleets.shops.watch]\nslower = 0.5", "fleets.shops.watch.slower must be a number from 1 to 1000"),
        (
            LIKE + "[fleets.shops.watch]\nlock_waits = 1.5",
            "fleets.shops.watch.lock_waits must be a whole number from 0",
        ),
        (LIKE + "[fleets.shops.watch]\nbudget_floor = 1", "fleets.shops.watch.budget_floor must be a text"),
        (LIKE + "[fleets.shops.watch]\nalerts = 'a.yml'", "fleets.shops.watch.alerts must be a list of texts"),
        (LIKE + "[fleets.shops.watch]\nfaster = 2", "fleets.shops.watch has unknown settings: faster"),
        (
            LIKE + "[fleets.shops.health]\nconnections_pct = 101",
            "fleets.shops.health.connections_pct must be a number from 0",
        ),
        (
            LIKE + "[fleets.shops.health]\nlock_waits = 0",
            "fleets.shops.health.lock_waits must be a whole number from 1",
        ),
        (LIKE + "[fleets.shops.health]\nbackup_age = 26", "fleets.shops.health.backup_age must be a text"),
        (LIKE + "[fleets.shops.health]\nspeed = 2", "fleets.shops.health has unknown settings: speed"),
        (
            LIKE + "[fleets.shops.health]\nconnections_pct = 96",
            "fleets.shops.health.connections_pct must not be more than connections_critical_pct (95)",
        ),
        (
            LIKE + "[fleets.shops.health]\ndisk_free_critical_pct = 20",
            "fleets.shops.health.disk_free_pct must not be less than disk_free_critical_pct (20)",
        ),
        (LIKE + "[fleets.shops.health]\nkeep_sweeps = '23h'", "fleets.shops.health.keep_sweeps must be 1d or longer"),
        (LIKE + "[[fleets.shops.exclude]]\ntarget = 'a'", "fleets.shops.exclude (1).reason is missing"),
        (LIKE + "[[fleets.shops.exclude]]\nreason = 'a'", "fleets.shops.exclude (1) give target or labels"),
        (
            LIKE + "[[fleets.shops.freezes]]\nreason = 'a'\nfrom = 2026-12-20T00:00:00",
            "fleets.shops.freezes (1).from must be a time with its offset",
        ),
        (
            LIKE + "[[fleets.shops.freezes]]\nreason = 'a'\nfrom = 2026-12-20T00:00:00Z\nuntil = 2026-12-20T00:00:00Z",
            "fleets.shops.freezes (1).until must be later than from",
        ),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        load(tmp_path, text)

    assert said in caught.value.message


def test_how_targets_are_watched_is_said_for_the_fleet(tmp_path: Path) -> None:
    text = """
[fleets.shops.watch]
alerts = ["guide", "alerts.yml"]
slower = 2
least_calls = 0
lock_wait = "1m"
require_queries = true
"""
    watch = load(tmp_path, LIKE + text).watch

    limits = SoakLimits(slower=2.0, least_calls=0, lock_wait=timedelta(minutes=1), require_queries=True)
    # A file is seen from the one that names it.
    assert watch == WatchSettings(limits=limits, alerts=("guide", str(tmp_path / "alerts.yml")))


def test_from_where_on_something_is_wrong_is_said_for_the_fleet(tmp_path: Path) -> None:
    text = """
[fleets.shops.health]
connections_pct = 50
long_transaction = "5m"
xid_age = 200_000_000
disk_free_pct = 25.5
backup_age = "2h"
"""
    health = load(tmp_path, LIKE + text).health

    assert health == HealthLimits(
        connections_pct=50,
        long_transaction=timedelta(minutes=5),
        xid_age=200_000_000,
        disk_free_pct=25.5,
        backup_age=timedelta(hours=2),
    )
    found = {"connections": 5, "connections_most": 10, "longest_transaction_s": 301.0, "disk_free_pct": 25.0}
    assert not any(one.is_true for one in own_results(found, (), HealthLimits()))
    assert [one.rule.name for one in own_results(found, (), health) if one.is_true] == [
        "connections nearly used up",
        "a transaction is open for long",
        "disk nearly full",
    ]


def test_a_server_is_reached_by_variables_and_a_password_in_the_file_is_refused() -> None:
    environ = {"URL": "postgresql://u@h:5433/control", "PW": "pl4nted"}

    access, database = resolve_server(FleetServer(name="a", url_env="URL", password_env="PW"), environ=environ)

    assert (access.host, access.port, access.user, database) == ("h", 5433, "u", "control")
    assert access.password is not None
    assert access.password.reveal() == "pl4nted"
    with pytest.raises(InvalidInputError, match="needs the variable PW, which is not set"):
        resolve_server(FleetServer(name="a", url="postgresql://h/d", password_env="PW"), environ={})
    with pytest.raises(InvalidInputError, match="holds a password") as caught:
        resolve_server(FleetServer(name="a", url="postgresql://u:pl4nted@h/d"), environ={})
    assert "pl4nted" not in caught.value.message + caught.value.hint
