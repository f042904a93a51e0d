"""The verb that writes the way back: generate-rollback."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from squizzle.cli.names import versions
from squizzle.cli.options import Invocation, common_options
from squizzle.cli.output import print_result
from squizzle.errors import InvalidInputError
from squizzle.migrations.layouts.files import read_script
from squizzle.migrations.reversal.records import Reversal, ReversedStatement
from squizzle.migrations.reversal.rendering import render
from squizzle.migrations.reversal.requests import Live, Means, reverse_file, reverse_version
from squizzle.postgres.access import connect, parse_url

_SCRATCH = click.option(
    "--scratch", metavar="URL", help="A server for scratch databases; without it, one of our own is started."
)


@click.command("generate-rollback")
@click.argument("version", required=False, shell_complete=versions)
@click.option("--file", type=click.Path(path_type=Path), metavar="UP.sql", help="Any script, instead of a version.")
@click.option("--save-rows", is_flag=True, help="Save the rows that the script touches, and bring them back.")
@_SCRATCH
@common_options
def generate_rollback(
    invocation: Invocation, version: str | None, file: Path | None, scratch: str | None, *, save_rows: bool
) -> None:
    """Print the SQL that undoes VERSION, or a FILE: each statement exact, lossy or none, with the reason.

    The database is only read. What is called exact was executed on a scratch copy of its schema and compared.

    \b

    Examples:
      squizzle generate-rollback 0007 --env staging
      squizzle generate-rollback --file change.sql --save-rows
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    if (version is None) == (file is None):
        raise InvalidInputError("say what to reverse", hint="give either VERSION or --file UP.sql")
    means = means_of(invocation, scratch)
    with _live(invocation) as live:
        if file is not None:
            found = reverse_file(_text(file), file.name, live, means, save_rows=save_rows)
        else:
            found = reverse_version(invocation.migrations(), version or "", live, means, save_rows=save_rows)
    print_result(_document(found), render(found).rstrip("\n"), as_json=invocation.as_json)


def means_of(invocation: Invocation, scratch: str | None) -> Means:
    """What may be used for the proof.

    Raises:
        InvalidInputError: The connection string of the scratch server cannot be read.
    """
    config = invocation.config
    access = parse_url(scratch)[0] if scratch else None
    return Means(scratch=access, programs=config.programs, schema=invocation.schema or config.schema)


@contextmanager
def _live(invocation: Invocation) -> Iterator[Live | None]:
    """The database that was named; None when none was."""
    if not (invocation.environment or invocation.url or os.environ.get("DATABASE_URL")):
        yield None
        return
    access, target = invocation.target()
    with connect(access, target.database, purpose="reverse", read_only=True) as connection:
        yield Live(connection=connection, access=access, target=target)


def _text(file: Path) -> str:
    text = read_script(file, root=file.resolve().parent)
    if text is None:
        raise InvalidInputError(f"there is no file {file}", hint="give the path of an up script")
    return text


def _document(found: Reversal) -> dict[str, object]:
    return {
        "sql": render(found),
        "reversibility": found.reversibility.value,
        "schema": found.match.value,
        "proof": found.proof,
        "differences": list(found.differences),
        "drift": list(found.drift),
        "statements": [_statement(one, found) for one in found.statements],
    }


def _statement(one: ReversedStatement, found: Reversal) -> dict[str, object]:
    whole = found.whole is not None
    reverse = one.claim if whole and one.claim is not None else one.reverse
    return {
        "line": one.line,
        "sql": one.sql,
        "reverse": "" if whole else "\n".join(f"{text};" for text in reverse.statements),
        "reversibility": reverse.reversibility.value,
        "reason": f"part of the way back of the whole script; {reverse.reason}" if whole else reverse.reason,
        "schema": one.match.value,
        "save": "\n".join(f"{text};" for text in reverse.save.before),
        "save_after": "\n".join(f"{text};" for text in reverse.save.after),
    }
