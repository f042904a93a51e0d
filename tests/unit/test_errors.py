"""The error tree: every error survives a process pool and carries the exit code of the contract."""

from __future__ import annotations

import inspect
import pickle

import pytest

from squizzle import errors
from squizzle.errors import DatabaseState, SquizzleError

ALL_ERRORS = sorted(
    (one for one in vars(errors).values() if inspect.isclass(one) and issubclass(one, SquizzleError)),
    key=lambda one: one.__name__,
)

# The exit codes that the command promises, by the meaning that people read in its contract.
CONTRACT = {
    "SquizzleError": 1,
    "InvalidInputError": 2,
    "KeyNotUsableError": 2,
    "ProgramNotUsableError": 2,
    "ConnectionFailedError": 3,
    "AuthenticationFailedError": 4,
    "VersionConflictError": 5,
    "ChecksumMismatchError": 6,
    "RecoveryError": 7,
    "RollbackFailedError": 7,
    "BackupDamagedError": 7,
    "FencingFailedError": 7,
    "FencingUnavailableError": 7,
    "LockTimeoutError": 8,
    "BeingMigratedError": 8,
    "StandbyBehindError": 8,
    "RefusedError": 9,
    "IdentityMismatchError": 9,
    "UndecidedError": 9,
    "CouldNotVerifyError": 10,
    "ChaosError": 1,
    "DatabaseError": 1,
    "MigrationFailedError": 1,
    "ToolError": 1,
    "EmbeddedServerError": 1,
    "CloudError": 1,
    "CloudUnavailableError": 1,
    "CloudBusyError": 1,
}

WORTH_ANOTHER_TRY = {
    "BeingMigratedError",
    "CloudBusyError",
    "CloudUnavailableError",
    "ConnectionFailedError",
    "FencingUnavailableError",
    "LockTimeoutError",
    "StandbyBehindError",
}

# A value for every argument that any of them takes, none of them a default.
GIVEN = {
    "message": "table users is gone",
    "hint": "restore it",
    "wait_s": 30.0,
    "database_state": DatabaseState.CHANGED,
    "sqlstate": "42P01",
    "command": "pg_dump",
    "exit_code": -9,
    "stderr_tail": "out of paper",
}


def arguments_of(kind: type[SquizzleError]) -> list[str]:
    return [name for name in inspect.signature(kind).parameters if name != "self"]


def test_the_contract_names_every_error() -> None:
    assert {one.__name__ for one in ALL_ERRORS} == set(CONTRACT)


@pytest.mark.parametrize("kind", ALL_ERRORS)
def test_every_error_has_the_exit_code_of_the_contract(kind: type[SquizzleError]) -> None:
    assert kind.code == CONTRACT[kind.__name__]
    assert kind().code == CONTRACT[kind.__name__]


@pytest.mark.parametrize("kind", ALL_ERRORS)
def test_only_lost_connections_locks_and_standbys_are_worth_another_try(kind: type[SquizzleError]) -> None:
    assert kind.retryable is (kind.__name__ in WORTH_ANOTHER_TRY)


@pytest.mark.parametrize("kind", ALL_ERRORS)
def test_every_error_pickles_with_all_its_attributes(kind: type[SquizzleError]) -> None:
    given = {name: GIVEN[name] for name in arguments_of(kind)}
    message = given.pop("message")
    error = kind(message, **given)
    error.add_note("the history could not be told")

    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes

    assert type(copy) is kind
    assert copy.message == message
    assert str(copy) == message
    assert {name: getattr(copy, name) for name in given} == given
    assert copy.__notes__ == ["the history could not be told"]


@pytest.mark.parametrize("kind", ALL_ERRORS)
def test_every_argument_of_every_error_has_a_default(kind: type[SquizzleError]) -> None:
    error = kind()

    assert error.message == ""
    assert error.hint == ""
    assert error.database_state is DatabaseState.UNTOUCHED


def test_the_state_is_written_as_the_contract_writes_it() -> None:
    assert [state.value for state in DatabaseState] == ["untouched", "changed", "unknown"]
