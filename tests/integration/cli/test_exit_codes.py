"""Every exit code of the contract, by causes that really happen, and what a script can read about them."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace

import pytest
from psycopg import sql

from squizzle.migrations.history import read_history
from squizzle.migrations.session import exclusive
from squizzle.postgres.access import Connection, ServerAccess
from squizzle.postgres.embedded import ServerAddress
from squizzle.postgres.identity import ExpectedIdentity, Target, ensure_identity
from tests.integration.cli.conftest import Done, Squizzle, url_of
from tests.integration.migrations.conftest import Folder
from tests.support.cutter import Cutter
from tests.support.wire import listening

pytestmark = pytest.mark.one_server

Tables = Callable[[], set[str]]


def check(done: Done, code: int, words: str, *, state: str = "untouched") -> None:
    assert done.code == code, done.err
    assert words in done.error["message"]
    assert done.error["database_state"] == state
    assert "Traceback" not in done.err


# --- 1: general ----------------------------------------------------------------------------------------------------


def test_a_migration_that_fails_is_1(squizzle: Squizzle, shop_folder: Folder, tables: Tables) -> None:
    shop_folder.write("0001", "CREATE TABLE t (a int); SELECT 1 / 0")

    check(squizzle("apply", "--all", "--json"), 1, "0001_change/up.sql:1: SELECT 1 / 0: division by zero")

    assert tables() == set()


def test_a_script_outside_a_transaction_that_fails_is_1_and_says_that_something_changed(
    squizzle: Squizzle, folder: Folder, connection: Connection
) -> None:
    connection.execute("CREATE TABLE t (a int)")
    folder.write("0001", "CREATE INDEX CONCURRENTLY i ON t (a);\nCREATE INDEX CONCURRENTLY j ON nowhere (a);")

    check(squizzle("apply", "--all", "--json"), 1, "0001_change/up.sql:2", state="changed")


@pytest.mark.usefixtures("shop_folder")
def test_somebody_without_rights_is_told_so_with_1(
    squizzle: Squizzle, access: ServerAccess, database: str, role: str, tables: Tables
) -> None:
    done = squizzle("apply", "--all", "--json", DATABASE_URL=url_of(access, database, user=role))

    check(done, 1, "permission denied")
    assert "have the missing right granted" in done.error["hint"]
    assert tables() == set()


@pytest.mark.usefixtures("shop_folder")
def test_a_read_only_session_is_told_so_with_1(squizzle: Squizzle, url: str, tables: Tables) -> None:
    done = squizzle("apply", "--all", "--json", DATABASE_URL=f"{url}&options=-c%20default_transaction_read_only%3Don")

    check(done, 1, "sessions are read-only")
    assert "connect to the primary" in done.error["hint"]
    assert tables() == set()


# --- 2: configuration and usage: no database is needed for most ----------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["status", "--nonsense"], "No such option"),
        (["status", "surplus"], "unexpected extra argument"),
        (["status", "--layout", "nonsense"], "nonsense"),
        (["status"], "no database named"),
        (["status", "--url", "postgresql://db:port/shop"], "the connection URL has no usable port"),
        (["status", "--url", "nonsense"], "the connection URL cannot be parsed"),
        (["status", "--url", "postgresql://db"], "the connection URL names no database"),
        (["status", "--url", "postgresql:///a", "--env", "b"], "--env and --url both name a database"),
        (["status", "--env", "nowhere"], "there is no environment 'nowhere'; known: none"),
        (["status", "--config", "nowhere.toml"], "nowhere.toml cannot be read"),
        (["apply"], "say what to apply"),
        (["apply", "0001", "--all"], "say what to apply"),
        (["apply", "--all", "--to", "0002"], "say what to apply"),
        (["rollback"], "say what to roll back"),
        (["rollback", "0001", "--to", "0001"], "say what to roll back"),
        (["rollback", "--all"], "No such option"),
        (["new"], "Missing argument"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_understood_is_2(offline: Squizzle, arguments: list[str], words: str) -> None:
    check(offline(*arguments, "--json"), 2, words)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("[project", "is not TOML"),
        ("[project]\ncolour = 'red'", "unknown settings: colour"),
        ("[environments.a]", "give either url or url_env"),
        ("[environments.a]\nurl_env = 'A_URL'", "needs the variable A_URL, which is not set"),
        ("[timeouts]\nlock = 'soon'", "timeouts.lock must be"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_2(offline: Squizzle, config: str, words: str) -> None:
    offline.configure(config)

    check(offline("status", "--env", "a", "--json"), 2, words)


@pytest.mark.parametrize("verb", [["status"], ["apply", "--all"], ["rollback", "0001"], ["verify"], ["new", "x"]])
def test_a_missing_migrations_folder_is_2(squizzle: Squizzle, verb: list[str]) -> None:
    done = squizzle(*verb, "--migrations", "nowhere", "--json")

    check(done, 2, "nowhere")


def test_a_folder_with_a_slip_is_2_and_nothing_is_applied(
    squizzle: Squizzle, shop_folder: Folder, tables: Tables
) -> None:
    (shop_folder.path / "0004-create_x").mkdir()

    check(squizzle("apply", "--all", "--json"), 2, "0004-create_x")

    assert tables() == set()


@pytest.mark.parametrize(
    "sql_text", ["SELECT 'open", "\\i other.sql", "ROLLBACK", "BEGIN; SELECT 1", "COPY t TO STDOUT"]
)
def test_a_script_that_cannot_be_run_as_it_is_is_2_and_nothing_is_applied(
    squizzle: Squizzle, shop_folder: Folder, tables: Tables, sql_text: str
) -> None:
    shop_folder.write("0003", f"SELECT 1;\n{sql_text}")

    check(squizzle("apply", "--all", "--json"), 2, "0003_change/up.sql:2")

    assert tables() == set()


# --- 3 and 4: getting in -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("shop_folder")
def test_a_database_that_is_not_there_is_3(squizzle: Squizzle, access: ServerAccess) -> None:
    done = squizzle("status", "--json", DATABASE_URL=url_of(access, "no_such_database"))

    check(done, 3, "has no database 'no_such_database'")
    assert "createdb" in done.error["hint"]


def test_a_server_that_is_not_there_is_3(offline: Squizzle) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and never listened on: nobody answers, nobody else gets it
        port = taken.getsockname()[1]
        done = offline("status", "--json", "--url", f"postgresql://app@127.0.0.1:{port}/shop")

    check(done, 3, f"no connection to database 'shop' on 127.0.0.1:{port}")


@pytest.mark.usefixtures("shop_folder")
def test_a_fenced_database_is_3(squizzle: Squizzle, control: Connection, database: str) -> None:
    name = sql.Identifier(database)
    control.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))

    check(squizzle("status", "--json"), 3, "is fenced: it accepts no connections")

    control.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))
    assert squizzle("status").code == 0


@pytest.mark.usefixtures("shop_folder")
def test_too_many_connections_of_a_role_is_3_and_not_a_wrong_password(
    squizzle: Squizzle, control: Connection, access: ServerAccess, database: str, role: str
) -> None:
    control.execute(sql.SQL("ALTER ROLE {} CONNECTION LIMIT 0").format(sql.Identifier(role)))

    done = squizzle("status", "--json", DATABASE_URL=url_of(access, database, user=role))

    check(done, 3, "too many connections")


@pytest.mark.usefixtures("shop_folder")
def test_a_missing_database_that_is_called_role_is_3_and_not_a_wrong_password(
    squizzle: Squizzle, access: ServerAccess
) -> None:
    check(squizzle("status", "--json", DATABASE_URL=url_of(access, "my role database")), 3, "has no database")


def test_a_session_that_is_lost_in_the_middle_is_3(squizzle: Squizzle, folder: Folder, tables: Tables) -> None:
    folder.write("0001", "CREATE TABLE t (a int); SELECT pg_terminate_backend(pg_backend_pid())")

    check(squizzle("apply", "--all", "--json"), 3, "terminating connection")

    assert tables() == set()
    assert [one["version"] for one in squizzle("status", "--json").document["running"]] == ["0001"]


@pytest.mark.usefixtures("shop_folder")
def test_a_wrong_password_is_4(squizzle: Squizzle, address: ServerAddress, database: str) -> None:
    wrong = f"postgresql://{address.user}:not-the-password@{address.host}:{address.port}/{database}"

    done = squizzle("status", "--json", DATABASE_URL=wrong)

    check(done, 4, "does not accept the login")
    assert "PGPASSWORD" in done.error["hint"]
    assert "not-the-password" not in done.out + done.err


@pytest.mark.usefixtures("shop_folder")
def test_the_right_password_is_0(squizzle: Squizzle, address: ServerAddress, database: str) -> None:
    place = f"{address.host}:{address.port}/{database}"
    password = address.read_password()

    for done in (
        squizzle("status", DATABASE_URL=f"postgresql://{address.user}:{password}@{place}"),
        squizzle("status", DATABASE_URL=f"postgresql://{address.user}@{place}", PGPASSWORD=password),
        squizzle("status", DATABASE_URL=f"postgresql://{address.user}@{place}", PGPASSFILE=str(address.password_file)),
    ):
        assert (done.code, done.err) == (0, "")
        assert password not in done.out


@pytest.mark.parametrize("kind", ["unknown", "may not log in"])
@pytest.mark.usefixtures("shop_folder")
def test_a_role_that_cannot_log_in_is_4(
    squizzle: Squizzle,
    control: Connection,
    access: ServerAccess,
    database: str,
    role: str,
    kind: str,
) -> None:
    control.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(sql.Identifier(role)))
    user = role if kind == "may not log in" else "nobody_at_all"

    check(squizzle("status", "--json", DATABASE_URL=url_of(access, database, user=user)), 4, user)


def test_a_connection_that_is_lost_in_the_middle_of_a_question_is_3_and_no_traceback(
    squizzle: Squizzle, access: ServerAccess, database: str, folder: Folder
) -> None:
    folder.write("1", "SELECT 1")
    cutter = Cutter(access, after="to_regclass", at="\n    SELECT a.pid", arrives=False)

    with listening(cutter, access) as reached:
        done = squizzle("status", "--json", DATABASE_URL=url_of(reached, database))

    check(done, 3, "server closed the connection unexpectedly", state="unknown")
    assert cutter.has_cut.is_set()


# --- 5, 6 and 7: versions, files, ways back ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["apply", "0009"], "there is no version 0009"),
        (["apply", "--to", "1"], "there is no version 1"),
        (["apply", "0003"], "0003 cannot be applied alone: 0002 come before it"),
        (["rollback", "0003"], "0003 is not applied"),
        (["rollback", "--to", "0003"], "0003 is not applied"),
        (["verify", "0003"], "0003 is not applied"),
    ],
    ids=" ".join,
)
@pytest.mark.usefixtures("shop_folder")
def test_a_version_that_does_not_fit_is_5(squizzle: Squizzle, tables: Tables, arguments: list[str], words: str) -> None:
    squizzle("apply", "0001")

    check(squizzle(*arguments, "--json"), 5, words)

    assert tables() == {"t"}


def test_versions_out_of_order_twice_or_unknown_are_5(
    squizzle: Squizzle, shop_folder: Folder, connection: Connection
) -> None:
    squizzle("apply", "--all")
    before = read_history(connection, "public")

    check(squizzle("rollback", "0001", "--json"), 5, "0002, 0003 come after it")
    shop_folder.write("0002.5", "SELECT 1")
    check(squizzle("apply", "--all", "--json"), 5, "older than what is applied (0003): 0002.5")
    (shop_folder.path / "0002.5_change").rename(shop_folder.path / "003_again")
    check(squizzle("apply", "--all", "--json"), 5, "is there twice")
    (shop_folder.path / "003_again").rename(shop_folder.path / ".gone")
    (shop_folder.path / "0002_change").rename(shop_folder.path / ".gone too")
    check(squizzle("apply", "--all", "--json"), 5, "not in the migrations folder: 0002")

    assert read_history(connection, "public") == before


def test_a_file_that_was_changed_is_6(squizzle: Squizzle, shop_folder: Folder, tables: Tables) -> None:
    squizzle("apply", "0001")
    shop_folder.write("0001", "CREATE TABLE t (a bigint)", verify="SELECT true")

    check(squizzle("apply", "--all", "--json"), 6, "changed after it was applied: 0001_change/up.sql")
    verified = squizzle("verify", "--json")
    assert verified.code == 6
    assert verified.document["ok"] is False
    assert tables() == {"t"}


def test_a_way_back_that_is_missing_or_fails_is_7(squizzle: Squizzle, shop_folder: Folder, tables: Tables) -> None:
    squizzle("apply", "--all")
    shop_folder.write("0003", "CREATE TABLE u (a int)", down="DROP TABLE u; DROP TABLE nowhere")

    check(squizzle("rollback", "0003", "--json"), 7, "could not roll back 0003: 0003_change/down.sql:1")
    shop_folder.write("0003", "CREATE TABLE u (a int)")
    check(squizzle("rollback", "0003", "--json"), 7, "0003 has no down.sql")

    assert tables() == {"t", "u"}
    assert squizzle("status", "--json").document["current"] == "0003"


# --- 8: somebody else ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["apply", "--all"], ["rollback", "0001"]], ids=" ".join)
@pytest.mark.usefixtures("shop_folder")
def test_a_database_that_somebody_else_migrates_is_8(
    squizzle: Squizzle, connection: Connection, database: str, tables: Tables, arguments: list[str]
) -> None:
    squizzle("apply", "0001")

    with exclusive(connection, Target(database=database)):
        done = squizzle(*arguments, "--json")
        check(done, 8, "is being migrated by somebody else")
        assert f"session {connection.info.backend_pid} " in done.error["message"]
        assert squizzle("status").code == 0
        assert squizzle("apply", "--all", "--dry-run").code == 0

    assert tables() == {"t"}
    assert squizzle(*arguments).code == 0


# --- 9: refused ----------------------------------------------------------------------------------------------------


@pytest.fixture
def environments(squizzle: Squizzle, url: str) -> Squizzle:
    """Staging and production, both pointing to the same database: a slip in the configuration."""
    squizzle.configure(f'[environments.staging]\nurl = "{url}"\n[environments.production]\nurl = "{url}"\n')
    return squizzle


@pytest.mark.parametrize(
    "verb",
    [
        ["apply", "--all", "--yes"],
        ["rollback", "0001", "--yes"],
        ["apply", "--all", "--dry-run"],
        ["status"],
        ["verify"],
    ],
    ids=" ".join,
)
@pytest.mark.usefixtures("shop_folder")
def test_another_database_than_was_meant_is_9(environments: Squizzle, tables: Tables, verb: list[str]) -> None:
    assert environments("apply", "0001", "--env", "staging").code == 0

    check(
        environments(*verb, "--env", "production", "--json"),
        9,
        "is not the database that was meant: environment is staging, expected production",
    )

    assert tables() == {"t"}


@pytest.mark.usefixtures("shop_folder")
def test_another_id_than_was_meant_is_9(
    squizzle: Squizzle, connection: Connection, url: str, database: str, tables: Tables
) -> None:
    identity = ensure_identity(connection, ExpectedIdentity(), database=database)
    other_id = replace(identity, id=identity.id).id.int ^ 1
    config = '[environments.staging]\nurl = "{}"\ndatabase_id = "{}"\n'

    squizzle.configure(config.format(url, f"{other_id:032x}"))
    check(squizzle("apply", "--all", "--env", "staging", "--json"), 9, f"id is {identity.id}")
    assert tables() == set()

    squizzle.configure(config.format(url, identity.id))
    assert squizzle("apply", "--all", "--env", "staging").code == 0


def test_a_script_that_gives_up_the_lock_is_9_and_says_that_something_changed(
    squizzle: Squizzle, folder: Folder, tables: Tables
) -> None:
    folder.write("0001", "CREATE TABLE t (a int); SELECT pg_advisory_unlock_all()")
    folder.write("0002", "CREATE TABLE never (a int)")

    check(squizzle("apply", "--all", "--json"), 9, "gave up the migration lock", state="changed")

    assert tables() == {"t"}


# --- where a database is named -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("shop_folder")
def test_an_environment_or_a_url_wins_over_the_variable(
    environments: Squizzle, access: ServerAccess, url: str, database: str
) -> None:
    nowhere = url_of(access, "no_such_database")

    assert environments("status", "--json", DATABASE_URL=nowhere).code == 3
    assert environments("status", "--env", "staging", "--json", DATABASE_URL=nowhere).document["database"] == database
    assert environments("status", "--url", url, "--json", DATABASE_URL=nowhere).document["database"] == database
    assert environments("status", "--env", "staging", "--json").document["environment"] == "staging"


@pytest.mark.usefixtures("shop_folder")
def test_the_first_environment_that_changes_a_database_is_its_environment(environments: Squizzle) -> None:
    assert environments("status", "--json").document["environment"] is None
    environments("apply", "0001")
    assert environments("status", "--json").document["environment"] is None
    environments("apply", "0002", "--env", "staging")
    assert environments("status", "--json").document["environment"] == "staging"


@pytest.mark.usefixtures("shop_folder")
def test_another_schema_holds_history_and_objects(squizzle: Squizzle, connection: Connection, tables: Tables) -> None:
    connection.execute("CREATE SCHEMA app")

    assert squizzle("apply", "--all", "--schema", "app").code == 0

    assert tables() == set()
    assert squizzle("status", "--json").document["current"] is None
    assert squizzle("status", "--schema", "app", "--json").document["current"] == "0003"
    assert squizzle("verify", "--schema", "app").code == 0
    check(squizzle("apply", "--all", "--schema", "nowhere", "--json"), 1, "nowhere")
