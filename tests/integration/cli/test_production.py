"""Production asks before it is changed, and only a person at a terminal or --yes can answer."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Callable

import pytest

from squizzle.postgres.access import Connection
from squizzle.postgres.identity import read_identity
from tests.integration.cli.conftest import Squizzle

Tables = Callable[[], set[str]]


pytestmark = [pytest.mark.usefixtures("shop_folder"), pytest.mark.one_server]


@pytest.fixture
def production(squizzle: Squizzle, url: str) -> Squizzle:
    environments = "".join(f'[environments.{name}]\nurl = "{url}"\n' for name in ("production", "staging"))
    # What is asked here is whether a person says yes; certificates are asked for in test_certificates.
    squizzle.configure(f"{environments}[rehearsal]\nrequired_for = []\n")
    return squizzle


PRODUCTION = ("--env", "production")


def test_without_a_terminal_and_without_yes_production_is_not_changed(
    production: Squizzle, connection: Connection, tables: Tables
) -> None:
    done = production("apply", "--all", *PRODUCTION, "--json")

    assert done.code == 9
    assert done.error["message"] == "apply 0001 to 0003 (3 versions) in production needs a yes"
    assert "--yes" in done.error["hint"]
    assert done.error["database_state"] == "untouched"
    assert tables() == set()
    assert read_identity(connection) is None


def test_yes_changes_production(production: Squizzle, connection: Connection, tables: Tables) -> None:
    assert production("apply", "--all", *PRODUCTION, "--yes").code == 0
    assert tables() == {"t", "u"}
    identity = read_identity(connection)
    assert identity is not None
    assert identity.environment == "production"

    refused = production("rollback", "0003", *PRODUCTION)
    assert refused.code == 9
    assert "roll back 0003 in production needs a yes" in refused.err
    assert tables() == {"t", "u"}
    assert production("rollback", "0003", *PRODUCTION, "--yes").code == 0
    assert tables() == {"t"}


def test_a_database_that_says_it_is_production_asks_however_it_was_named(production: Squizzle, tables: Tables) -> None:
    production("apply", "0001", *PRODUCTION, "--yes")

    assert production("apply", "0002").code == 9
    assert production("rollback", "0001").code == 9
    assert tables() == {"t"}
    assert production("apply", "0002", "--yes").code == 0


def test_what_changes_nothing_does_not_ask(production: Squizzle) -> None:
    assert production("apply", "--all", "--dry-run", *PRODUCTION).code == 0
    production("apply", "--all", *PRODUCTION, "--yes")

    assert production("apply", "--all", *PRODUCTION).code == 0  # nothing is pending
    for verb in ("status", "verify", "digest"):
        assert production(verb, *PRODUCTION).code == 0


def test_any_other_environment_does_not_ask(production: Squizzle, tables: Tables) -> None:
    assert production("apply", "--all", "--env", "staging").code == 0
    assert production("rollback", "0003", "--env", "staging").code == 0
    assert tables() == {"t"}


@pytest.mark.parametrize(
    ("answer", "code", "there"), [(b"y\n", 0, {"t"}), (b"n\n", 9, set()), (b"\n", 9, set()), (b"\x04", 130, set())]
)
def test_a_person_at_a_terminal_is_asked(
    production: Squizzle, tables: Tables, answer: bytes, code: int, there: set[str]
) -> None:
    ours, theirs = pty.openpty()
    try:
        os.write(ours, answer)
        done = production("apply", "0001", *PRODUCTION, "--json", stdin=theirs)
    finally:
        os.close(ours)
        os.close(theirs)

    assert done.code == code
    assert "PRODUCTION" in done.err
    assert "apply 0001?" in done.err
    assert tables() == there
    if code == 0:
        assert done.document["current"] == "0001"
    if code == 9:
        assert "the answer was no" in done.error["message"]


def test_an_answer_from_a_pipe_is_no_answer(production: Squizzle, tables: Tables) -> None:
    with subprocess.Popen(["/bin/echo", "y"], stdout=subprocess.PIPE) as echo:
        assert echo.stdout is not None
        done = production("apply", "0001", *PRODUCTION, stdin=echo.stdout.fileno())

    assert done.code == 9
    assert tables() == set()
