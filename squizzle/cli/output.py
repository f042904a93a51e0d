"""What the command prints: one JSON document or a human result on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence

import click

from squizzle.errors import SquizzleError

JsonDocument = Mapping[str, object]


def print_result(document: JsonDocument, human: str, *, as_json: bool) -> None:
    """Print a verb's result on stdout, in one of the two forms."""
    if as_json:
        click.echo(_as_json(document))
    elif human:
        click.echo(human)


def _as_json(document: JsonDocument) -> str:
    """One line of UTF-8; a byte of a path or an argument that is none is written as an escape."""
    text = json.dumps(document, ensure_ascii=False, default=str)
    return _NO_UTF8.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


# What Python makes of a byte that is not UTF-8 (PEP 383).
_NO_UTF8 = re.compile("[\ud800-\udfff]")


def say(text: str) -> None:
    """Print progress or advice on stderr, where it disturbs no script."""
    click.echo(text, err=True)


def coloured(text: str, colour: str, *, bold: bool = False) -> str:
    """A text in a colour, which click takes away where it is printed to no terminal; as it is with NO_COLOR."""
    return text if os.environ.get("NO_COLOR") else click.style(text, fg=colour, bold=bold)


def print_error(error: SquizzleError, *, as_json: bool) -> None:
    """Print what failed, the state of the database, and what to do next."""
    hint = error.next_step
    if as_json:
        details = {
            "code": error.code,
            "message": error.message,
            "hint": hint,
            "database_state": error.database_state.value,
        }
        click.echo(_as_json({"error": details}))
    lines = [coloured("error: ", "red", bold=True) + error.message]
    lines += [f"  note: {note}" for note in getattr(error, "__notes__", ())]
    lines.append(f"  database: {error.database_state.value}")
    lines.append(f"  next: {hint}")
    click.echo("\n".join(lines), err=True)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their content, without borders: good for reading and for grep."""
    lines = [headings, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
