"""What every verb of the command has: an example that can be typed, JSON for programs, exit codes that are said."""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Iterator

import click
import pytest

from squizzle.cli.main import app

# PostgreSQL runs these two, and reads nothing but the exit code; a shell reads the third; the last runs until
# somebody stops it.
WITHOUT_JSON = {"squizzle archive-wal", "squizzle fetch-wal", "squizzle completion", "squizzle serve"}
EXAMPLE = re.compile(r"^  (squizzle .*|\w+_command = '.*')$", re.MULTILINE)
COMMAND_OF_A_SERVER = re.compile(r"\w+_command = '\S*/(squizzle .*)'")


def below(group: click.Group, above: click.Context) -> Iterator[click.Context]:
    for name in group.list_commands(above):
        command = group.get_command(above, name)
        assert command is not None
        context = click.Context(command, info_name=name, parent=above)
        yield context
        if isinstance(command, click.Group):
            yield from below(command, context)


def verbs() -> list[click.Context]:
    """Everything that does something: verbs, those below them, and groups that do something by themselves."""
    found = list(below(app, click.Context(app, info_name="squizzle")))
    assert len(found) > 60
    return [one for one in found if not isinstance(one.command, click.Group) or one.command.invoke_without_command]


def parsed(line: str) -> str:
    """The verb that a line calls; raises when its options are not those of that verb."""
    line = re.split(r" [|>] ", COMMAND_OF_A_SERVER.sub(r"\1", line))[0]
    first, *words = shlex.split(line, comments=True)
    context = click.Context(app, info_name=first)
    command: click.Command = app
    while isinstance(command, click.Group) and words and words[0] in command.list_commands(context):
        found = command.get_command(context, words[0])
        assert found is not None
        command = found
        context = click.Context(command, info_name=words.pop(0), parent=context)
    if isinstance(command, click.Group) and not command.invoke_without_command:
        # Groups that list where no verb of theirs is named; another one knows no such verb.
        return parsed(shlex.join([*context.command_path.split(), "list", *words]))
    assert context.parent is not None
    command.make_context(context.info_name, words, parent=context.parent)
    return context.command_path


@pytest.fixture(scope="module")
def contexts() -> list[click.Context]:
    return verbs()


def test_every_verb_has_an_example_of_its_own_and_every_example_can_be_typed(contexts: list[click.Context]) -> None:
    without = []
    for context in contexts:
        lines = EXAMPLE.findall(inspect.cleandoc(context.command.help or ""))
        called = {parsed(line) for line in lines}
        if context.command_path not in called:
            without.append(context.command_path)

    assert without == []


def test_an_example_with_a_wrong_option_is_found() -> None:
    assert parsed("squizzle status --env staging --json") == "squizzle status"
    for wrong in ("squizzle status --environment staging", "squizzle backups prune --keep 3", "squizzle copies remove"):
        with pytest.raises(click.UsageError):
            parsed(wrong)


def test_every_verb_prints_json_where_it_prints_anything_for_a_program(contexts: list[click.Context]) -> None:
    without = {
        one.command_path for one in contexts if not any("--json" in parameter.opts for parameter in one.command.params)
    }

    assert without == WITHOUT_JSON


def test_every_verb_that_ends_in_more_ways_than_well_or_with_an_error_says_with_which_codes(
    contexts: list[click.Context],
) -> None:
    silent = []
    for context in contexts:
        function = inspect.unwrap(context.command.callback or (lambda: None))
        if function.__annotations__.get("return") == "int" and "xit code" not in (context.command.help or ""):
            silent.append(context.command_path)

    assert silent == []


def test_the_help_of_the_command_names_every_exit_code_that_an_error_has() -> None:
    from squizzle.errors import SquizzleError  # noqa: PLC0415 - only here

    def codes(error: type[SquizzleError]) -> set[int]:
        return {error.code, *(code for one in error.__subclasses__() for code in codes(one))}

    said = {int(code) for code in re.findall(r"\b(\d+) [a-z]", app.help or "")}
    assert codes(SquizzleError) <= said
