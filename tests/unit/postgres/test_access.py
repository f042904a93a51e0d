"""Connection strings, and how access is handed to PostgreSQL's client programs without showing the password."""

from __future__ import annotations

import os
import stat
import string
import subprocess
import tempfile
import traceback
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import psycopg.conninfo
import pytest
from hypothesis import given
from hypothesis import strategies as st

from squizzle.errors import InvalidInputError, SquizzleError
from squizzle.postgres.access import ServerAccess, client_environment, conninfo_database, parse_url
from squizzle.postgres.secret import Secret

PASSWORD = "pl4nted-pa$$word"


@pytest.fixture(autouse=True)
def no_libpq_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PG")]:
        monkeypatch.delenv(name)


# What a connection string says: host, port, user, password, further parameters, database.
URLS = {
    "postgresql://app:pw@db.example:5433/shop": ("db.example", 5433, "app", "pw", {}, "shop"),
    "postgres://app@db.example/shop": ("db.example", None, "app", None, {}, "shop"),
    "postgresql:///shop": ("", None, "", None, {}, "shop"),
    "postgresql://db.example/shop?sslmode=verify-full&sslrootcert=/etc/ca.pem": (
        "db.example",
        None,
        "",
        None,
        {"sslmode": "verify-full", "sslrootcert": "/etc/ca.pem"},
        "shop",
    ),
    "postgresql://u%40corp:p%40ss%2Fw%3Aord%25@db/my%20shop": ("db", None, "u@corp", "p@ss/w:ord%", {}, "my shop"),
    "postgresql://%2Fvar%2Frun%2Fpostgresql/shop": ("/var/run/postgresql", None, "", None, {}, "shop"),
    "postgresql:///shop?host=/var/run/postgresql&port=6432": ("/var/run/postgresql", 6432, "", None, {}, "shop"),
    "postgresql://[2001:db8::7]:5432/shop": ("2001:db8::7", 5432, "", None, {}, "shop"),
    "postgresql:///shop?user=app&password=pw": ("", None, "app", "pw", {}, "shop"),
    "postgresql://app:@db/shop": ("db", None, "app", None, {}, "shop"),
    "host=db port=5433 user=app password='p w\\'d' dbname=shop": ("db", 5433, "app", "p w'd", {}, "shop"),
    "dbname=shop options='-c geqo=off'": ("", None, "", None, {"options": "-c geqo=off"}, "shop"),
    "host = db dbname = shöp": ("db", None, "", None, {}, "shöp"),
    "postgresql://db/s%C3%B6p": ("db", None, "", None, {}, "söp"),
}


@pytest.mark.parametrize(("url", "meant"), URLS.items())
def test_a_connection_string_is_read_as_libpq_reads_it(
    url: str, meant: tuple[str, int | None, str, str | None, dict[str, str], str]
) -> None:
    access, database = parse_url(url)

    password = access.password.reveal() if access.password else None
    assert (access.host, access.port, access.user, password, dict(access.parameters), database) == meant


def test_the_connect_timeout_of_a_url_is_ours() -> None:
    access, _ = parse_url("postgresql://db/shop?connect_timeout=3")

    assert access.connect_timeout == timedelta(seconds=3)
    assert access.parameters == ()


def test_the_application_name_of_a_url_does_not_replace_ours() -> None:
    access, _ = parse_url("postgresql://db/shop?application_name=somebody")

    assert access.parameters == ()


def test_a_url_without_a_database_takes_the_one_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGDATABASE", "shop")

    assert parse_url("postgresql://db")[1] == "shop"
    assert parse_url("postgresql://db/billing")[1] == "billing"


MALFORMED = [
    f"postgresql://app:{PASSWORD}@db",  # no database
    f"postgresql://app:{PASSWORD}@db:54x2/shop",
    f"postgresql://app:{PASSWORD}@db:-1/shop",
    f"postgresql://app:{PASSWORD}@db:5432,5433/shop",
    f"postgresql://app:{PASSWORD}@one,two/shop?port=1,2",
    f"postgresql://app:{PASSWORD}@db/shop?connect_timeout=soon",
    f"postgresql://app:{PASSWORD}@db/shop?no_such_parameter=1",
    f"postgresql://app:{PASSWORD}%@db/shop",
    f"postgresql://app:{PASSWORD}%zz@db/shop",
    f"postgresql://app:{PASSWORD}@[::1/shop",
    f"postgresql://app:{PASSWORD}@db/shop?password",
    f"postgresql://app:{PASSWORD}@db/shop?sslmode=a=b",
    f"host=db password={PASSWORD} dbname",
    f"host=db password='{PASSWORD} dbname=shop",
    f"host=db passwort={PASSWORD} dbname=shop",
    f"mysql://app:{PASSWORD}@db/shop",
    f"{PASSWORD}",
    f"postgresql://app:{PASSWORD}\udcff@db/shop",  # bytes of an argument that are not UTF-8
    "",
]


@pytest.mark.parametrize("url", MALFORMED)
def test_a_malformed_connection_string_is_refused_without_repeating_the_password(url: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_url(url)

    assert caught.value.message
    assert caught.value.hint
    assert_hides(PASSWORD, caught.value)


def assert_hides(password: str, error: SquizzleError) -> None:
    shown = [error.message, error.hint, repr(error), "".join(traceback.format_exception(error))]
    # A traceback shows the lines of this file, too, but never the values of variables.
    assert not any(password in text for text in shown)


passwords = st.text(alphabet=string.ascii_letters + string.digits, min_size=12, max_size=20)
trash = st.text(st.characters(codec="utf-8"), max_size=8)


@given(password=passwords, before=trash, between=trash, behind=trash)
def test_no_connection_string_makes_the_password_visible(password: str, before: str, between: str, behind: str) -> None:
    for url in (
        f"postgresql://app:{password}{before}@{between}/{behind}",
        f"postgresql://app{before}:{password}@db:{between}/shop{behind}",
        f"host=db {before} password={password} {between} dbname=shop {behind}",
        f"postgresql://db/shop?{before}password={password}{between}&{behind}",
    ):
        try:
            access, _ = parse_url(url)
        except InvalidInputError as error:
            assert_hides(password, error)
        else:
            if access.password and password in access.password.reveal():
                assert password not in repr(access)


@given(password=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20))
def test_a_percent_encoded_password_arrives_as_it_is(password: str) -> None:
    access, database = parse_url(f"postgresql://app:{quote(password, safe='')}@db/shop")

    assert access.password == Secret(password)
    assert database == "shop"


# --- client programs -----------------------------------------------------------------------------------------------


def password_of(passfile: Path) -> str:
    """The password of a file with one line that fits everything, read by libpq's rules (fe-connect.c)."""
    (line,) = passfile.read_text(encoding="utf-8").splitlines()
    assert line.startswith("*:*:*:*:")
    escaped = line.removeprefix("*:*:*:*:")
    characters = iter(escaped)
    return "".join(next(characters) if character == "\\" else character for character in characters)


def test_a_client_program_is_told_where_to_connect() -> None:
    access = ServerAccess(
        host="db.example",
        port=5433,
        user="app",
        parameters=(("sslmode", "require"), ("options", "-c geqo=off")),
        connect_timeout=timedelta(seconds=7),
    )

    with client_environment(access, "my shop") as environment:
        libpq = {name: value for name, value in environment.items() if name.startswith("PG")}

    assert libpq == {
        "PGHOST": "db.example",
        "PGPORT": "5433",
        "PGUSER": "app",
        "PGDATABASE": "my shop",
        "PGSSLMODE": "require",
        "PGOPTIONS": "-c geqo=off",
        "PGCONNECT_TIMEOUT": "7",
        "PGAPPNAME": "squizzle client program",
    }


def test_the_password_travels_in_a_file_of_ours_that_is_removed_afterwards() -> None:
    access = ServerAccess(host="db", user="app", password=Secret(PASSWORD))

    with client_environment(access, "shop") as environment:
        passfile = Path(environment["PGPASSFILE"])
        mode = stat.S_IMODE(passfile.stat().st_mode)
        owner = passfile.stat().st_uid
        held = password_of(passfile)
        values = list(environment.values())

    assert mode == 0o600
    assert owner == os.geteuid()
    assert held == PASSWORD
    assert not any(PASSWORD in value for value in values)
    assert not passfile.exists()


def test_the_password_file_is_removed_when_the_program_fails() -> None:
    access = ServerAccess(host="db", password=Secret(PASSWORD))
    passfiles = []

    def fail() -> None:
        with client_environment(access, "shop") as environment:
            passfiles.append(Path(environment["PGPASSFILE"]))
            assert passfiles[0].exists()
            raise OSError("the program does not start")

    with pytest.raises(OSError, match="does not start"):
        fail()
    assert not passfiles[0].exists()


@given(
    password=st.text(
        st.one_of(st.sampled_from(":\\*# "), st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp"))),
        min_size=1,
        max_size=30,
    )
)
def test_every_password_survives_the_escapes_of_the_password_file(password: str) -> None:
    with client_environment(ServerAccess(password=Secret(password)), "shop") as environment:
        assert password_of(Path(environment["PGPASSFILE"])) == password


def test_a_password_of_the_environment_does_not_replace_the_one_that_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "of somebody else")
    monkeypatch.setenv("PGPASSFILE", "/home/somebody/.pgpass")

    with client_environment(ServerAccess(password=Secret(PASSWORD)), "shop") as environment:
        assert "PGPASSWORD" not in environment  # it would win over the file
        assert environment["PGPASSFILE"] != "/home/somebody/.pgpass"


def test_without_a_password_the_users_own_ways_to_give_one_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "their own")
    monkeypatch.setenv("PGPASSFILE", "/home/somebody/.pgpass")

    with client_environment(ServerAccess(host="db"), "shop") as environment:
        assert environment["PGPASSWORD"] == "their own"
        assert environment["PGPASSFILE"] == "/home/somebody/.pgpass"


def test_settings_of_the_environment_do_not_lead_a_client_program_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    # libpq lets a service win over PGHOST, so the program would work on another server than our own session.
    for name, value in {"PGSERVICE": "production", "PGHOST": "elsewhere", "PGDATABASE": "other"}.items():
        monkeypatch.setenv(name, value)

    with client_environment(ServerAccess(host="db"), "shop") as environment:
        assert "PGSERVICE" not in environment
        assert environment["PGHOST"] == "db"
        assert environment["PGDATABASE"] == "shop"


def test_what_the_url_leaves_to_the_environment_is_the_same_for_our_session_and_a_client_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    theirs = {"PGHOST": "db.example", "PGPORT": "6432", "PGUSER": "app", "PGSSLMODE": "verify-full"}
    for name, value in theirs.items():
        monkeypatch.setenv(name, value)
    access, database = parse_url("postgresql:///shop")

    with client_environment(access, database) as environment:
        assert {name: environment.get(name) for name in theirs} == theirs
        assert environment["PGDATABASE"] == "shop"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PGSSLROOTCERT", "/etc/root.pem"),
        ("PGSSLMINPROTOCOLVERSION", "TLSv1.3"),
        ("PGSSLCRLDIR", "/etc/revoked"),
        ("PGCHANNELBINDING", "require"),
        ("PGREQUIREAUTH", "scram-sha-256"),
        ("PGREQUIREPEER", "postgres"),
        ("PGGSSENCMODE", "require"),
    ],
)
def test_what_the_environment_asks_of_a_connection_is_asked_of_a_client_program_too(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)

    with client_environment(ServerAccess(host="db"), "shop") as environment:
        assert environment[name] == value


SERVICE = "[production]\nhost=db.example\nport=5432\ndbname=shop\nsslmode=verify-full\nsslrootcert=/etc/root.pem\n"


def test_a_client_program_is_told_what_is_in_a_service_and_what_the_url_says_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "services").write_text(SERVICE)
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    monkeypatch.setenv("PGPORT", "6432")
    safe = {"PGHOST": "db.example", "PGPORT": "5432", "PGSSLMODE": "verify-full", "PGSSLROOTCERT": "/etc/root.pem"}

    by_url = parse_url("postgresql:///?service=production")
    elsewhere = parse_url("postgresql://other/billing?service=production")
    monkeypatch.setenv("PGSERVICE", "production")
    by_variable = parse_url("postgresql:///")

    for (access, database), host in ((by_url, "db.example"), (by_variable, "db.example"), (elsewhere, "other")):
        with client_environment(access, database) as environment:
            assert {name: environment.get(name) for name in safe} == safe | {"PGHOST": host}
            assert environment["PGDATABASE"] == ("shop" if host == "db.example" else "billing")
            assert "PGSERVICE" not in environment
    with pytest.raises(InvalidInputError, match="service"):
        parse_url("postgresql:///?service=staging")


def test_a_client_program_finds_its_files_and_is_told_no_secret_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/somewhere/bin")
    monkeypatch.setenv("LC_NUMERIC", "C")
    for name in (
        "SHOP_PASSWORD",
        "AWS_SECRET_ACCESS_KEY",
        "SLACK_BOT_TOKEN",
        "PREFECT_API_KEY",
        "PREFECT_API_AUTH_STRING",
    ):
        monkeypatch.setenv(name, PASSWORD)

    with client_environment(ServerAccess(host="db"), "shop") as environment:
        assert environment["PATH"] == "/somewhere/bin"
        assert environment["LC_NUMERIC"] == "C"
        assert PASSWORD not in environment.values()


def test_a_parameter_that_client_programs_have_no_variable_for_is_refused() -> None:
    access = ServerAccess(host="db", password=Secret(PASSWORD), parameters=(("keepalives_idle", "5"),))

    with pytest.raises(InvalidInputError, match="'keepalives_idle'") as caught, client_environment(access, "shop"):
        pass
    assert "sslmode" in caught.value.hint
    assert_hides(PASSWORD, caught.value)


@pytest.mark.parametrize("database", ["shop", "host=evil", "a b", "it's", "back\\slash", "postgresql://evil/x", "ü"])
def test_a_database_name_is_never_read_as_a_connection_string(database: str) -> None:
    assert psycopg.conninfo.conninfo_to_dict(conninfo_database(database)) == {"dbname": database}


def test_password_files_of_killed_processes_are_removed_and_those_of_living_ones_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with subprocess.Popen(["/bin/true"]) as ended:
        ended.wait()
    abandoned = tmp_path / f"squizzle-pgpass-{ended.pid}-abc"
    living = tmp_path / f"squizzle-pgpass-{os.getpid()}-abc"
    foreign = tmp_path / "squizzle-pgpass-x"
    for file in (abandoned, living, foreign):
        file.write_text("secret")

    with client_environment(ServerAccess(password=Secret("x")), "shop"):
        assert not abandoned.exists()
        assert living.exists()
        assert foreign.exists()
