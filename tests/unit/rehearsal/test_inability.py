"""Which errors say something about a migration, and which only about the server that it was tried on."""

from __future__ import annotations

import psycopg
import pytest

from squizzle.errors import ConnectionFailedError, LockTimeoutError, MigrationFailedError, RollbackFailedError
from squizzle.rehearsal.inability import sqlstate_of, why_it_says_nothing


@pytest.mark.parametrize("state", ["42501", "53100", "53200", "53300", "55P03", "57014", "57P01", "57P02", "58P01"])
def test_what_the_server_could_not_do_is_no_verdict(state: str) -> None:
    error = MigrationFailedError("could not apply 0001: no", sqlstate=state)

    assert why_it_says_nothing(error).endswith("could not apply 0001: no")


@pytest.mark.parametrize("state", ["42601", "42P01", "23505", "22012", "0A000", ""])
def test_what_the_script_did_wrong_is_one(state: str) -> None:
    assert why_it_says_nothing(MigrationFailedError("division by zero", sqlstate=state)) == ""


def test_the_code_of_a_failed_rollback_is_that_of_its_cause() -> None:
    error = RollbackFailedError("could not roll back 0001")
    error.__cause__ = psycopg.errors.InsufficientPrivilege("must be owner of table users")

    assert sqlstate_of(error) == "42501"
    assert why_it_says_nothing(error)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionFailedError("the server is gone"),
        LockTimeoutError("a lock"),
        MigrationFailedError('extension "postgis" is not available', sqlstate="0A000"),
        MigrationFailedError("the server does not have the extensions that these scripts create: postgis"),
        MigrationFailedError("must be superuser to do that"),
    ],
)
def test_what_is_missing_there_is_told_by_words_too(error: MigrationFailedError) -> None:
    assert error.message in why_it_says_nothing(error)
