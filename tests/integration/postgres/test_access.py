"""Opening sessions on a real server: which error for which refusal, and nothing secret in any of them."""

from __future__ import annotations

import os
import secrets
import traceback
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest
from psycopg import sql

from squizzle.errors import AuthenticationFailedError, ConnectionFailedError, InvalidInputError, SquizzleError
from squizzle.postgres.access import Connection, ServerAccess, client_environment, connect, parse_url
from squizzle.postgres.embedded import ServerAddress
from squizzle.postgres.secret import Secret
from tests.support.scratch import new_role

PLANTED = "Planted-9f3c"


@pytest.fixture
def by_password(address: ServerAddress) -> ServerAccess:
    """The superuser over TCP, where the server asks for a password and stores it as SCRAM."""
    return ServerAccess(
        host=address.host, port=address.port, user=address.user, password=Secret(address.read_password())
    )


@pytest.fixture
def role(control: Connection) -> Iterator[str]:
    with new_role(control, sql.SQL("LOGIN PASSWORD {}").format(PLANTED)) as name:
        yield name


def everything_printed(error: BaseException) -> str:
    """What a log, a traceback and a debugger's first look show of an error."""
    parts = [str(error), repr(error), getattr(error, "hint", ""), *map(repr, error.args)]
    return "\n".join([*parts, *traceback.format_exception(error)])


def failed_connect(access: ServerAccess, database: str) -> SquizzleError:
    with pytest.raises(SquizzleError) as caught:
        connect(access, database, purpose="test")
    return caught.value


def test_session_is_in_autocommit_mode_and_says_what_it_is_for(access: ServerAccess) -> None:
    with connect(access, "postgres", purpose="look around") as session:
        assert session.autocommit
        assert session.execute("SELECT current_setting('application_name')").fetchone() == ("squizzle look around",)


def test_long_purpose_is_cut_to_what_the_server_keeps(access: ServerAccess) -> None:
    with connect(access, "postgres", purpose="x" * 100) as session:
        [(shown,)] = session.execute("SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()")
    assert shown == ("squizzle " + "x" * 100)[:63]


def test_read_only_session_refuses_to_write(access: ServerAccess, database: str) -> None:
    with (
        connect(access, database, purpose="test", read_only=True) as session,
        pytest.raises(psycopg.errors.ReadOnlySqlTransaction),
    ):
        session.execute("CREATE TABLE t ()")


def test_read_only_session_keeps_the_callers_options(access: ServerAccess) -> None:
    with_options = replace(access, parameters=(("options", "-c work_mem=7MB"),))
    with connect(with_options, "postgres", purpose="test", read_only=True) as session:
        shown = session.execute("SELECT current_setting('work_mem'), current_setting('transaction_read_only')")
        assert shown.fetchone() == ("7MB", "on")


def test_statements_are_never_prepared_so_that_ddl_in_between_does_no_harm(connection: Connection) -> None:
    connection.execute("CREATE TABLE t (a int)")
    for _ in range(10):
        connection.execute("SELECT * FROM t")
    assert connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)


def test_database_named_like_a_connection_string_is_that_database(access: ServerAccess, control: Connection) -> None:
    name = f"host=evil.example dbname=x {secrets.token_hex(3)}"
    control.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    try:
        with connect(access, name, purpose="test") as session:
            assert session.execute("SELECT current_database()").fetchone() == (name,)
    finally:
        control.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def test_nobody_listening_is_a_failed_connection_worth_a_retry(access: ServerAccess) -> None:
    nowhere = replace(access, host="127.0.0.1", port=1, connect_timeout=timedelta(seconds=2))
    error = failed_connect(nowhere, "postgres")
    assert type(error) is ConnectionFailedError
    assert error.retryable
    assert "127.0.0.1:1" in error.message


def test_socket_folder_without_a_server_is_a_failed_connection(access: ServerAccess) -> None:
    error = failed_connect(replace(access, host="/nonexistent"), "postgres")
    assert type(error) is ConnectionFailedError
    assert "/nonexistent" in error.message


def test_missing_database_is_named(access: ServerAccess) -> None:
    error = failed_connect(access, "no such database")
    assert type(error) is ConnectionFailedError
    assert "has no database 'no such database'" in error.message
    assert "createdb" in error.hint


def test_fenced_database_is_told_apart_from_a_missing_one(
    access: ServerAccess, control: Connection, database: str
) -> None:
    control.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(database)))
    error = failed_connect(access, database)
    assert type(error) is ConnectionFailedError
    assert error.retryable
    assert "fenced" in error.message


def test_unknown_role_is_an_authentication_error(access: ServerAccess) -> None:
    error = failed_connect(replace(access, user="no_such_role"), "postgres")
    assert type(error) is AuthenticationFailedError
    assert "no_such_role" in error.message


def test_role_that_may_not_log_in_is_an_authentication_error(access: ServerAccess, control: Connection) -> None:
    with new_role(control, sql.SQL("NOLOGIN")) as name:
        error = failed_connect(replace(access, user=name), "postgres")
    assert type(error) is AuthenticationFailedError
    assert "not permitted to log in" in error.message


def test_right_password_opens_a_session(by_password: ServerAccess) -> None:
    with connect(by_password, "postgres", purpose="test") as session:
        assert session.execute("SELECT 1").fetchone() == (1,)


def test_wrong_password_is_an_authentication_error_not_worth_a_retry(by_password: ServerAccess) -> None:
    error = failed_connect(replace(by_password, password=Secret(PLANTED)), "postgres")
    assert type(error) is AuthenticationFailedError
    assert not error.retryable
    assert "password authentication failed" in error.message
    assert PLANTED not in everything_printed(error)


def test_no_password_where_one_is_asked_for_is_an_authentication_error(
    by_password: ServerAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGPASSWORD", raising=False)
    monkeypatch.setenv("PGPASSFILE", os.devnull)
    error = failed_connect(replace(by_password, password=None), "postgres")
    assert type(error) is AuthenticationFailedError
    assert "no password supplied" in error.message


def test_password_file_serves_where_no_password_is_given(address: ServerAddress, by_password: ServerAccess) -> None:
    by_file = replace(by_password, password=None, parameters=(("passfile", str(address.password_file)),))
    with connect(by_file, "postgres", purpose="test") as session:
        assert session.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize(
    "parameters",
    [
        (("passwort", PLANTED),),
        (("no such", PLANTED), ("sslmode", "prefer")),
        (("", PLANTED),),
        (("conninfo", f"host=h {PLANTED}"),),
    ],
    ids=["misspelled", "with a space", "empty name", "not even a pair"],
)
def test_malformed_parameters_are_not_repeated(
    by_password: ServerAccess, parameters: tuple[tuple[str, str], ...]
) -> None:
    error = failed_connect(replace(by_password, password=Secret(PLANTED), parameters=parameters), "postgres")
    assert type(error) is ConnectionFailedError
    assert PLANTED not in everything_printed(error)


@pytest.mark.parametrize("password", ["it's", "back\\slash", "a b=c host=evil", "%40@:/?#", "ünïcode ☃", "'; --"])
def test_odd_passwords_work_and_are_never_shown(by_password: ServerAccess, control: Connection, password: str) -> None:
    secret = f"{password}{PLANTED}"
    with new_role(control, sql.SQL("LOGIN PASSWORD {}").format(secret)) as name:
        right = replace(by_password, user=name, password=Secret(secret))
        with connect(right, "postgres", purpose="test") as session:
            assert session.execute("SELECT current_user").fetchone() == (name,)
        error = failed_connect(replace(right, password=Secret(f"{secret} wrong")), "postgres")
    assert type(error) is AuthenticationFailedError
    assert PLANTED not in everything_printed(error)
    assert PLANTED not in f"{right} {right!r}"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:{PLANTED} x@h/d",
        f"postgresql://u:{PLANTED}@h:99999x/d",
        f"postgresql://u:%zz{PLANTED}@h/d",
        f"postgresql://u:{PLANTED}@h",
        f"postgresql://u:p@h/d?connect_timeout={PLANTED}",
        f"host=h dbname=d password='{PLANTED}",
        f"host=h dbname=d passwort={PLANTED}",
        f"host=h dbname=d port={PLANTED}",
        PLANTED,
    ],
)
def test_malformed_url_is_refused_without_repeating_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGDATABASE", raising=False)
    with pytest.raises(InvalidInputError) as caught:
        parse_url(url)
    assert PLANTED not in everything_printed(caught.value)


def test_parsed_url_opens_the_session_it_describes(address: ServerAddress, role: str) -> None:
    url = (
        f"postgresql://{role}:{PLANTED}@{address.host}:{address.port}/postgres"
        "?connect_timeout=5&options=-c%20work_mem%3D9MB&application_name=ignored"
    )
    access, database = parse_url(url)
    assert access.connect_timeout == timedelta(seconds=5)
    with connect(access, database, purpose="test") as session:
        shown = session.execute("SELECT current_user, current_setting('work_mem'), current_setting('application_name')")
        assert shown.fetchone() == (role, "9MB", "squizzle test")


def test_client_environment_has_no_password_and_no_stray_settings(
    by_password: ServerAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", PLANTED)
    monkeypatch.setenv("PGHOSTADDR", "192.0.2.1")
    monkeypatch.setenv("PGOPTIONS", "-c search_path=elsewhere")
    with client_environment(replace(by_password, password=Secret(PLANTED)), "a database") as environment:
        assert PLANTED not in "".join(environment.values())
        assert {"PGPASSWORD", "PGHOSTADDR", "PGOPTIONS"}.isdisjoint(environment)
        assert environment["PGDATABASE"] == "a database"


def test_parameter_that_client_programs_cannot_take_is_refused(access: ServerAccess) -> None:
    odd = replace(access, parameters=(("keepalives_idle", "5"),))
    with pytest.raises(InvalidInputError, match="keepalives_idle"), client_environment(odd, "postgres"):
        pass
