"""`squizzle.toml`: what is read, what is refused, and that a password in it is never repeated."""

from __future__ import annotations

import os
import traceback
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squizzle.backups.settings import KeySettings
from squizzle.config import (
    Config,
    Environment,
    load_config,
    resolve_environment,
    resolve_url,
)
from squizzle.durations import parse_duration
from squizzle.errors import InvalidInputError
from squizzle.migrations.batch_records import BatchPolicy
from squizzle.migrations.records import Policy, Timeouts
from squizzle.postgres.identity import ExpectedIdentity, Target
from squizzle.postgres.secret import Secret
from squizzle.settings.drills import DrillBudget
from squizzle.settings.rehearsal import RehearsalSettings, rehearsal_server

PASSWORD = "pl4nted-password"
ID = "8f14e45f-ceea-467f-a8d1-3d1f3c5b2f10"

FULL = f"""
[project]
name = "shop"
migrations = "db/migrations"
layout = "native"
schema = "app"
out_of_order = true
keep_in_step = true

[timeouts]
lock = "500ms"
statement = "2h"

[after]
analyze = false

[batches]
size = 2000
pause = "0ms"
target = "1s"
max_replication_lag = "30s"
automatic_rows = 1000000

[drills]
rto = "30m"

[rehearsal]
required_for = ["production", "staging"]
max_age = "3d"
max_backup_age = "12h"
server = "postgresql://rehearsal@scratch/postgres"
mask = "mask.sql"
workload = "queries.sql"
budget = "30m"
may_override = false
same_schema = true
allow_minor = false
signing_key_env = "SIGNING_KEY"

[postgres]
programs = "/usr/lib/postgresql/18/bin"

[environments.staging]
url = "postgresql://app@db.staging:5433/shop"
password_env = "STAGING_PASSWORD"
schema = "tenant"
fleet = "shops"
database_id = "{ID}"

[environments.production]
url_env = "PRODUCTION_URL"
"""


@pytest.fixture(autouse=True)
def no_libpq_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PG")]:
        monkeypatch.delenv(name)


def load(tmp_path: Path, text: str) -> Config:
    file = tmp_path / "squizzle.toml"
    file.write_text(text, encoding="utf-8")
    return load_config(file)


def refusal(tmp_path: Path, text: str) -> InvalidInputError:
    with pytest.raises(InvalidInputError) as caught:
        load(tmp_path, text)
    assert caught.value.hint
    assert str(tmp_path / "squizzle.toml") in caught.value.message
    return caught.value


# --- reading -------------------------------------------------------------------------------------------------------


def test_every_setting_is_read(tmp_path: Path) -> None:
    assert load(tmp_path, FULL) == Config(
        project="shop",
        migrations=tmp_path / "db" / "migrations",
        layout="native",
        schema="app",
        keep_in_step=True,
        policy=Policy(
            timeouts=Timeouts(lock=timedelta(milliseconds=500), statement=timedelta(hours=2)),
            out_of_order=True,
            analyze=False,
            batches=BatchPolicy(
                size=2000,
                pause=timedelta(),
                target=timedelta(seconds=1),
                max_replication_lag=timedelta(seconds=30),
                automatic_rows=1_000_000,
            ),
        ),
        drills=DrillBudget(rto=timedelta(minutes=30)),
        rehearsal=RehearsalSettings(
            required_for=("production", "staging"),
            max_age=timedelta(days=3),
            max_backup_age=timedelta(hours=12),
            server="postgresql://rehearsal@scratch/postgres",
            mask=tmp_path / "mask.sql",
            workload=tmp_path / "queries.sql",
            budget=timedelta(minutes=30),
            may_override=False,
            same_schema=True,
            allow_minor=False,
            signing_key_env="SIGNING_KEY",
        ),
        programs=Path("/usr/lib/postgresql/18/bin"),
        environments={
            "staging": Environment(
                name="staging",
                url="postgresql://app@db.staging:5433/shop",
                password_env="STAGING_PASSWORD",
                schema="tenant",
                fleet="shops",
                database_id=UUID(ID),
            ),
            "production": Environment(name="production", url_env="PRODUCTION_URL"),
        },
    )


def test_an_empty_file_leaves_everything_at_its_default(tmp_path: Path) -> None:
    assert load(tmp_path, "") == Config(migrations=tmp_path / "migrations")


def test_without_a_file_everything_is_at_its_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert load_config() == Config()


def test_a_file_in_a_folder_above_is_found_and_its_paths_are_seen_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "squizzle.toml").write_text('[project]\nname = "above"\nmigrations = "sql"\n')
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)

    config = load_config()

    assert config.project == "above"
    assert config.migrations == tmp_path / "sql"


def test_the_nearest_file_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = tmp_path / "a"
    below.mkdir()
    (tmp_path / "squizzle.toml").write_text('[project]\nname = "above"\n')
    (below / "squizzle.toml").write_text('[project]\nname = "here"\n')
    monkeypatch.chdir(below)

    assert load_config().project == "here"
    assert load_config(tmp_path / "squizzle.toml").project == "above"


# --- refusing ------------------------------------------------------------------------------------------------------


def test_a_named_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"nowhere\.toml cannot be read: No such file"):
        load_config(tmp_path / "nowhere.toml")
    with pytest.raises(InvalidInputError, match="cannot be read: Is a directory"):
        load_config(tmp_path)


def test_what_is_not_toml_is_refused(tmp_path: Path) -> None:
    assert "is not TOML" in refusal(tmp_path, "[project\nname=").message


def test_what_is_not_utf8_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "squizzle.toml"
    file.write_bytes('[project]\nname = "größe"\n'.encode("latin-1"))

    with pytest.raises(InvalidInputError, match="is not UTF-8"):
        load_config(file)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('colour = "red"', "the file has unknown settings: colour"),
        ("[projekt]", "the file has unknown settings: projekt"),
        ('[project]\nmigration = "x"\nzebra = 1', "project has unknown settings: migration, zebra"),
        ('[timeouts]\nlocks = "5s"', "timeouts has unknown settings: locks"),
        ("[batches]\nautomatic = 1", "batches has unknown settings: automatic"),
        ('[rehearsal]\nmax_ages = "7d"', "rehearsal has unknown settings: max_ages"),
        ('[postgres]\nprogram = "x"', "postgres has unknown settings: program"),
        ('[environments.a]\nurl = "postgresql:///a"\npassword = "x"', "environments.a has unknown settings: password"),
    ],
)
def test_an_unknown_setting_is_refused_by_its_name(tmp_path: Path, text: str, what: str) -> None:
    assert what in refusal(tmp_path, text).message


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('project = "shop"', "project must be a section"),
        ("environments = []", "environments must be a section"),
        ('[environments]\nstaging = "postgresql:///a"', "environments.staging must be a section"),
        ("[project]\nname = 7", "project.name must be a text"),
        ('[project]\nmigrations = ""', "project.migrations must be a text that is not empty"),
        ("[project]\nschema = true", "project.schema must be a text"),
        ('[project]\nlayout = "flyweight"', "project.layout must be one of"),
        ("[postgres]\nprograms = []", "postgres.programs must be a text"),
        ('[environments.a]\nurl = ["postgresql:///a"]', "environments.a.url must be a text"),
        (
            '[environments.a]\nurl = "postgresql:///a"\ndatabase_id = "shop"',
            "environments.a.database_id must be a UUID",
        ),
        ("[timeouts]\nlock = 5", "timeouts.lock must be a text"),
        ('[project]\nout_of_order = "yes"', "project.out_of_order must be true or false"),
        ("[project]\nkeep_in_step = 1", "project.keep_in_step must be true or false"),
        ("[after]\nanalyze = 1", "after.analyze must be true or false"),
        ('[lint.severity]\nL101 = "loud"', "lint.severity.L101 must be one of error, warning, info, off"),
        ('[lint]\nruels = "x"', "lint has unknown settings: ruels"),
        ("[batches]\nsize = 0", "batches.size must be a whole number from 1 to 1000000"),
        ('[batches]\nsize = "5000"', "batches.size must be a whole number"),
        ("[batches]\nautomatic_rows = true", "batches.automatic_rows must be a whole number"),
        ("[batches]\npause = 50", "batches.pause must be a text"),
        ('[batches]\ntarget = "0ms"', "batches.target must be above zero"),
        ('[rehearsal]\nmax_age = "0s"', "rehearsal.max_age must be above zero"),
        ('[drills]\nrto = "0s"', "drills.rto must be above zero"),
        ('[drills]\nbudget = "1h"', "drills has unknown settings: budget"),
        ('[rehearsal]\nrequired_for = "production"', "rehearsal.required_for must be a list of texts"),
        ('[rehearsal]\nrequired_for = ["prod"]', "rehearsal.required_for has 'prod', and no [environments.prod]"),
        ('[rehearsal]\nserver = "host=a"\nserver_url_env = "A"', "rehearsal give either server or server_url_env"),
        ('[batches]\nmax_replication_lag = "0s"', "batches.max_replication_lag must be above zero"),
    ],
)
def test_a_setting_of_the_wrong_kind_is_refused_by_its_name(tmp_path: Path, text: str, what: str) -> None:
    assert what in refusal(tmp_path, text).message


@pytest.mark.parametrize("lines", ["", 'url = "postgresql:///a"\nurl_env = "A_URL"'], ids=["neither", "both"])
def test_an_environment_has_exactly_one_url(tmp_path: Path, lines: str) -> None:
    assert "environments.a give either url or url_env" in refusal(tmp_path, f"[environments.a]\n{lines}").message


def test_who_asks_for_certificates_can_be_nobody_and_is_production_where_nothing_is_said(tmp_path: Path) -> None:
    assert load(tmp_path, "").rehearsal.required_for == ("production",)
    assert load(tmp_path, "[rehearsal]\nrequired_for = []").rehearsal.required_for == ()
    fleet = '[fleets.a]\nenvironment = "live"\ndatabases = {like = "a"}\nservers = {s = {url = "postgresql:///a"}}\n'
    assert load(tmp_path, f'{fleet}[rehearsal]\nrequired_for = ["live"]').rehearsal.required_for == ("live",)


def test_the_server_for_rehearsals_is_named_without_a_password_or_by_a_variable(tmp_path: Path) -> None:
    wrong = refusal(tmp_path, f'[rehearsal]\nserver = "postgresql://a:{PASSWORD}@b/c"')
    assert "rehearsal.server holds a password; name server_url_env instead" in wrong.message
    assert PASSWORD not in wrong.message

    settings = load(tmp_path, '[rehearsal]\nserver_url_env = "SCRATCH"').rehearsal
    access = rehearsal_server(settings, {"SCRATCH": f"postgresql://a:{PASSWORD}@b/c"})
    assert access is not None
    assert (access.host, access.password) == ("b", Secret(PASSWORD))
    with pytest.raises(InvalidInputError, match="needs the variable SCRATCH, which is not set"):
        rehearsal_server(settings, {})
    assert rehearsal_server(RehearsalSettings(), {}) is None


# --- durations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("1ms", timedelta(milliseconds=1)),
        ("500ms", timedelta(milliseconds=500)),
        ("5s", timedelta(seconds=5)),
        ("5 s", timedelta(seconds=5)),
        ("30m", timedelta(minutes=30)),
        ("2h", timedelta(hours=2)),
        ("1d", timedelta(days=1)),
        ("0090s", timedelta(seconds=90)),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text: str, meant: timedelta) -> None:
    assert parse_duration(text) == meant


WRONG_DURATIONS = ["5", "s", "5x", "5S", "-5s", "1.5s", "5s ", " 5s", "5  s", "5s5s", "1h30m", "9" * 30 + "d"]


@pytest.mark.parametrize("text", WRONG_DURATIONS)
def test_anything_else_is_no_duration(tmp_path: Path, text: str) -> None:
    message = refusal(tmp_path, f'[timeouts]\nstatement = "{text}"').message

    assert "timeouts.statement must be a whole number and a unit (500ms, 5s, 30m, 2h, 1d)" in message


@given(text=st.text(max_size=10))
def test_no_text_makes_the_reader_of_durations_fail_otherwise(text: str) -> None:
    try:
        assert parse_duration(text) >= timedelta()
    except ValueError:
        assert text not in {"1s", "5ms"}


@pytest.mark.parametrize(
    "lines",
    ['lock = "0s"', 'lock = "1h"', 'lock = "2h"', 'lock = "10s"\nstatement = "10s"', 'statement = "1ms"'],
)
def test_the_wait_for_a_lock_is_above_zero_and_shorter_than_the_statement(tmp_path: Path, lines: str) -> None:
    message = refusal(tmp_path, f"[timeouts]\n{lines}").message

    assert "timeouts lock must be above zero and shorter than statement" in message


def test_a_statement_may_not_take_longer_than_postgresql_can_count(tmp_path: Path) -> None:
    assert load(tmp_path, '[timeouts]\nstatement = "24d"').policy.timeouts.statement == timedelta(days=24)
    assert (
        "timeouts.statement must not be longer than 24 days"
        in refusal(tmp_path, '[timeouts]\nstatement = "25d"').message
    )


# --- environments --------------------------------------------------------------------------------------------------


def test_an_environment_says_where_and_who(tmp_path: Path) -> None:
    config = load(tmp_path, FULL)

    access, target = resolve_environment(config, "staging", schema=None, environ={"STAGING_PASSWORD": PASSWORD})

    assert (access.host, access.port, access.user) == ("db.staging", 5433, "app")
    assert access.password == Secret(PASSWORD)
    assert target == Target(
        database="shop",
        schema="tenant",
        expected=ExpectedIdentity(environment="staging", fleet="shops", id=UUID(ID)),
    )


def test_an_environment_may_take_its_whole_url_from_a_variable(tmp_path: Path) -> None:
    config = load(tmp_path, FULL)
    url = f"postgresql://app:{PASSWORD}@db.production/shop"

    access, target = resolve_environment(config, "production", schema=None, environ={"PRODUCTION_URL": url})

    assert access.host == "db.production"
    assert access.password == Secret(PASSWORD)
    assert target.database == "shop"
    assert target.environment == "production"


@pytest.mark.parametrize(
    ("asked", "environment", "expected"),
    [(None, "production", "app"), (None, "staging", "tenant"), ("asked", "production", "asked"), ("x", "staging", "x")],
)
def test_the_nearest_schema_wins(tmp_path: Path, asked: str | None, environment: str, expected: str) -> None:
    environ = {"PRODUCTION_URL": "postgresql:///shop", "STAGING_PASSWORD": PASSWORD}

    _, target = resolve_environment(load(tmp_path, FULL), environment, schema=asked, environ=environ)

    assert target.schema == expected


def test_a_url_of_the_command_line_says_where_and_not_who(tmp_path: Path) -> None:
    access, target = resolve_url(load(tmp_path, FULL), "postgresql://db.example/shop", schema=None)

    assert access.host == "db.example"
    assert target == Target(database="shop", schema="app", expected=ExpectedIdentity())
    assert resolve_url(Config(), "postgresql:///shop", schema="x")[1].schema == "x"


def test_an_unknown_environment_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="no environment 'prod'; known: production, staging") as caught:
        resolve_environment(load(tmp_path, FULL), "prod", schema=None, environ={})
    assert "[environments.prod]" in caught.value.hint
    with pytest.raises(InvalidInputError, match="known: none"):
        resolve_environment(Config(), "prod", schema=None, environ={})


@pytest.mark.parametrize("value", [None, ""], ids=["not set", "empty"])
@pytest.mark.parametrize(
    ("environment", "variable"), [("production", "PRODUCTION_URL"), ("staging", "STAGING_PASSWORD")]
)
def test_a_variable_that_is_not_set_is_named(
    tmp_path: Path, environment: str, variable: str, value: str | None
) -> None:
    environ = {} if value is None else {variable: value}

    with pytest.raises(InvalidInputError, match=f"needs the variable {variable}") as caught:
        resolve_environment(load(tmp_path, FULL), environment, schema=None, environ=environ)
    assert variable in caught.value.hint


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://app:{PASSWORD}@db/shop",
        f"postgresql://app@db/shop?password={PASSWORD}",
        f"host=db dbname=shop password={PASSWORD}",
    ],
)
def test_a_password_in_the_file_is_refused_without_repeating_it(tmp_path: Path, url: str) -> None:
    config = load(tmp_path, f'[environments.a]\nurl = "{url}"')

    with pytest.raises(InvalidInputError, match="the url of environment 'a' holds a password") as caught:
        resolve_environment(config, "a", schema=None, environ={})
    assert "password_env" in caught.value.hint
    assert PASSWORD not in "".join(traceback.format_exception(caught.value)) + caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        f'[environments.a]\nurl = "postgresql://app:{PASSWORD}@db:x/shop"\n',
        f'[environments.a]\nurl = "postgresql://app:{PASSWORD}@db/shop"\nurl_env = "A"\n',
        f'[environments.a]\nurl = "postgresql://app:{PASSWORD}@db/shop"\nport = 1\n',
        f'[environments.a]\nurl = ["postgresql://app:{PASSWORD}@db/shop"]\n',
        f'[environments.a]\nurl_env = "A"\ndatabase_id = "{PASSWORD}"\n',
        f'[environments.a]\nurl_env = "A"\npassword = "{PASSWORD}"\n',
        f'[environments]\na = "postgresql://app:{PASSWORD}@db/shop"\n',
        f'[timeouts]\nlock = "{PASSWORD}"\n',
        f'[project]\nlayout = "{PASSWORD}"\n',
    ],
)
def test_no_wrong_value_is_repeated(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        resolve_environment(load(tmp_path, text), "a", schema=None, environ={})

    shown = "".join(traceback.format_exception(caught.value)) + caught.value.message + caught.value.hint
    assert PASSWORD not in shown


def test_keys_of_backups_are_named_not_written_here(tmp_path: Path) -> None:
    file = tmp_path / "squizzle.toml"
    file.write_text('[backups]\nkey_file = "backup.key"\nkey_env = "BACKUP_KEYS"\nkms_key = "alias/backups"\n')

    found = load_config(file).backups.keys

    assert found == KeySettings(key_file=tmp_path / "backup.key", key_env="BACKUP_KEYS", kms_key="alias/backups")
    file.write_text('[backups]\nkey = "hunter2hunter2"\n')
    with pytest.raises(InvalidInputError, match=r"backups has unknown settings: key$") as caught:
        load_config(file)
    assert "hunter2" not in caught.value.message
