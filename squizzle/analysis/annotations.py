"""What a script says to Squizzle in comments: `-- squizzle: WORD name=value …` on a line before a statement.

An annotation that nobody understands, or that belongs to no statement, is an error: a typing mistake must not turn a
careful statement into a careless one.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from squizzle.errors import InvalidInputError

if TYPE_CHECKING:
    from squizzle.analysis.scanner import Token

# The words that may follow `squizzle:`, each with an example for messages.
KNOWN = {"batch": "-- squizzle: batch key=id size=5000 pause=50ms"}

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
        arguments: Words that are no settings, in their order.
        settings: Names and values as they are written.
        where: `0007_x/up.sql:12`, for messages.
        line: The line of the script that it stands on, counted from 1.
    """

    word: str
    arguments: tuple[str, ...]
    settings: Mapping[str, str]
    where: str
    line: int


def annotations_of(
    script: bytes, tokens: Sequence[Token], comments: Sequence[Token], *, source: str
) -> dict[int, list[Annotation]]:
    """The annotations of a script, by the place (in bytes) where the statement that each belongs to begins.

    Args:
        script: The text that was scanned.
        tokens: All of its tokens, semicolons among them.
        comments: All of its comments.
        source: The script's name, for messages.

    Raises:
        InvalidInputError: An unknown word, no `name=value`, or a place that is not before a statement.
    """
    starts = [token.start for token in tokens]
    found: dict[int, list[Annotation]] = {}
    for comment in comments:
        text = script[comment.start : comment.end].decode()
        line = script.count(b"\n", 0, comment.start) + 1
        rest = _rest(text, f"{source}:{line}")
        if rest is None:
            continue
        place = _place(script, tokens, bisect_left(starts, comment.start), comment, f"{source}:{line}")
        found.setdefault(place, []).append(_read(rest, f"{source}:{line}", line))
    return found


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


def _place(script: bytes, tokens: Sequence[Token], following: int, comment: Token, where: str) -> int:
    line_start = script.rfind(b"\n", 0, comment.start) + 1
    if script[line_start : comment.start].strip():
        raise InvalidInputError(
            f"{where}: an annotation stands behind something else on its line",
            hint="put it on a line of its own, directly before the statement that it belongs to",
        )
    if following > 0 and tokens[following - 1].word != ";":
        raise InvalidInputError(
            f"{where}: an annotation stands inside a statement",
            hint="put it before the statement's first line, and a semicolon behind the statement before",
        )
    if following == len(tokens) or tokens[following].word == ";":
        raise InvalidInputError(
            f"{where}: an annotation stands before nothing",
            hint="put it directly before the statement that it belongs to, or remove it",
        )
    return tokens[following].start


def _read(rest: str, where: str, line: int) -> Annotation:
    word, settings = (*rest.split(maxsplit=1), "", "")[:2]
    if word.lower() not in KNOWN:
        raise InvalidInputError(
            f"{where}: unknown annotation {word!r}", hint=f"known are: {', '.join(sorted(KNOWN))}; correct or remove it"
        )
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
