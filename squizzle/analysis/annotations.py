"""What a script says to Squizzle in comments: `-- squizzle: WORD name=value …` on a line before a statement.

An annotation that nobody understands, or that belongs to no statement, is an error: a typing mistake must not turn a
careful statement into a careless one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from squizzle.errors import InvalidInputError

# The words that may follow `squizzle:`, each with an example for messages.
KNOWN = {
    "allow": '-- squizzle: allow L101 until=2027-01-31 reason="the table is empty"',
    "batch": "-- squizzle: batch key=id size=5000 pause=50ms",
    "save_rows": "-- squizzle: save_rows",
    "require": "-- squizzle: require SELECT count(*) = 0 FROM orders WHERE status IS NULL",
}
# Their rest is not words and settings but one text.
_TEXTS = frozenset({"require"})

_LINE = re.compile(r"--\s*squizzle\b\s*(?P<colon>:?)\s*(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
_BLOCK = re.compile(r"/\*+\s*squizzle\s*:", re.IGNORECASE)
_SETTING = re.compile(
    r'(?:(?P<name>[A-Za-z_]+)=(?P<value>(?:"(?:[^"]|"")*"|[^\s"])+)|(?P<word>[^\s="]+))(?:\s+|$)',
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Annotation:
    """One annotation.

    Attributes:
        word: What it is, one of `KNOWN`.
        arguments: Words that are no settings, in their order; for `require` the one query.
        settings: Names and values as they are written.
        where: `0007_x/up.sql:12`, for messages.
        line: The line of the script that it stands on, counted from 1.
    """

    word: str
    arguments: tuple[str, ...]
    settings: Mapping[str, str]
    where: str
    line: int


def read_annotation(
    comment: str, *, is_first_on_line: bool, is_before_statement: bool, where: str, line: int
) -> Annotation | None:
    """What a comment says to us; None when it says nothing.

    Args:
        comment: All of it.
        is_first_on_line: Whether nothing but blanks stands in front of it.
        is_before_statement: Whether it stands behind the statement before and before the first token of the next.
        where: `0007_x/up.sql:12`, for messages.
        line: The line that it begins on, counted from 1.

    Raises:
        InvalidInputError: An unknown word, no `name=value`, or a place that is not before a statement.
    """
    rest = _rest(comment, where)
    if rest is None:
        return None
    if not is_first_on_line:
        raise InvalidInputError(
            f"{where}: an annotation stands behind something else on its line",
            hint="put it on a line of its own, directly before the statement that it belongs to",
        )
    if not is_before_statement:
        raise InvalidInputError(
            f"{where}: an annotation stands inside a statement",
            hint="put it before the statement's first line, and a semicolon behind the statement before",
        )
    return _read(rest, where, line)


def before_nothing(mark: Annotation) -> InvalidInputError:
    """The error for an annotation behind which no statement comes."""
    return InvalidInputError(
        f"{mark.where}: an annotation stands before nothing",
        hint="put it directly before the statement that it belongs to, or remove it",
    )


def _rest(comment: str, where: str) -> str | None:
    """What follows `squizzle:`; None for a comment that says nothing to us."""
    if _BLOCK.match(comment):
        raise InvalidInputError(
            f"{where}: what a script says to Squizzle stands in a comment of one line",
            hint=f"write it like this: {KNOWN['batch']}",
        )
    match = _LINE.match(comment)
    if match is None:
        return None
    if match["colon"]:
        return match["rest"]
    word, _, settings = match["rest"].partition(" ")
    if word.lower() in KNOWN and "=" in settings:
        raise InvalidInputError(f"{where}: a colon is missing behind squizzle", hint=f"write {KNOWN[word.lower()]}")
    return None  # prose about us


def _read(rest: str, where: str, line: int) -> Annotation:
    word, settings = (*rest.split(maxsplit=1), "", "")[:2]
    if word.lower() not in KNOWN:
        raise InvalidInputError(
            f"{where}: unknown annotation {word!r}", hint=f"known are: {', '.join(sorted(KNOWN))}; correct or remove it"
        )
    if word.lower() in _TEXTS:
        return Annotation(word=word.lower(), arguments=(settings.strip(),), settings={}, where=where, line=line)
    arguments, named = _settings(settings.strip(), where)
    return Annotation(word=word.lower(), arguments=arguments, settings=named, where=where, line=line)


def _settings(text: str, where: str) -> tuple[tuple[str, ...], dict[str, str]]:
    arguments: list[str] = []
    settings: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = _SETTING.match(text, position)
        if match is None:
            raise InvalidInputError(
                f"{where}: {text[position:].split(maxsplit=1)[0]!r} is not name=value",
                hint="write settings like size=5000, with blanks between them and none inside",
            )
        position = match.end()
        name = (match["name"] or "").lower()
        if name in settings:
            raise InvalidInputError(f"{where}: {match['name']} is given twice", hint="give it once")
        if name:
            settings[name] = match["value"]
        else:
            arguments.append(match["word"])
    return tuple(arguments), settings
