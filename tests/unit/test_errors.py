"""The error tree: every error survives a process pool and carries the exit code of the contract."""

from __future__ import annotations

import ast
import inspect
import json
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from squizzle import errors
from squizzle.cli.main import app
from squizzle.cli.output import print_error
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
    "ChaosError",
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


# What a person is answered in Slack, who typed something there; nobody runs a command for it.
WITHOUT_HINT = {"squizzle/approvals/slack_service.py"}


def sources(project_root: Path) -> Iterator[tuple[Path, str]]:
    for room in ("squizzle", "tasks", "flows", "blocks"):
        for path in sorted((project_root / room).rglob("*.py")):
            yield path.relative_to(project_root), path.read_text(encoding="utf-8")


def calls_of_errors(project_root: Path) -> Iterator[tuple[str, ast.Call]]:
    names = {kind.__name__ for kind in ALL_ERRORS}
    one_of_them = re.compile(rf"\b(?:{'|'.join(names)})\(")
    for path, text in sources(project_root):
        # To parse everything takes seconds.
        for node in ast.walk(ast.parse(text)) if one_of_them.search(text) else ():
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
                yield f"{path}:{node.lineno}", node


def test_every_error_that_is_raised_says_what_to_do_next(project_root: Path) -> None:
    found = list(calls_of_errors(project_root))
    without = []
    for place, call in found:
        hint = [one.value for one in call.keywords if one.arg in {"hint", None}]
        said = bool(hint) and not (isinstance(hint[0], ast.Constant) and not hint[0].value)
        if not said and place.partition(":")[0] not in WITHOUT_HINT:
            without.append(place)

    assert len(found) > 800
    assert without == []


@pytest.mark.parametrize("kind", ALL_ERRORS)
@pytest.mark.parametrize("state", list(DatabaseState))
def test_an_error_that_says_nothing_itself_is_shown_with_a_next_step(
    kind: type[SquizzleError], state: DatabaseState, capsys: pytest.CaptureFixture[str]
) -> None:
    error = kind("it failed")
    error.database_state = state
    print_error(error, as_json=True)

    out, err = capsys.readouterr()
    hint = json.loads(out)["error"]["hint"]
    assert hint
    assert f"  next: {hint}\n" in err
    assert ("squizzle status" in hint) is (state is not DatabaseState.UNTOUCHED and not kind.retryable)


# In an error, a hint, a report, or a page: `squizzle VERB --option …`.
COMMAND = re.compile(r"`squizzle ([a-z][a-z-]*)([^`\n]*)`")


def commands_in(project_root: Path) -> Iterator[tuple[str, str, list[str]]]:
    pages = ((path, path.read_text(encoding="utf-8")) for path in sorted((project_root / "docs").glob("*.md")))
    for path, text in (*sources(project_root), *pages):
        for verb, rest in COMMAND.findall(text):
            yield str(path), verb, re.findall(r"(--[a-z][a-z-]+)", rest)


def test_every_command_that_is_named_anywhere_exists_with_its_options(project_root: Path) -> None:
    root = click.Context(app, info_name="squizzle")
    found = list(commands_in(project_root))
    wrong = []
    for place, verb, options in found:
        command = app.get_command(root, verb)
        known = {
            option for one in [command, *getattr(command, "commands", {}).values()] if one for option in options_of(one)
        }
        if command is None or not set(options) <= known:
            wrong.append(f"{place}: squizzle {verb} {' '.join(options)}")

    assert len(found) > 100
    assert wrong == []


def options_of(command: click.Command) -> set[str]:
    return {"--help", *(name for parameter in command.params for name in parameter.opts)}
