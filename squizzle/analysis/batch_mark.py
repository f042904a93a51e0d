"""The annotation `-- squizzle: batch key=id size=5000 pause=50ms`: its settings, read and refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import NoReturn

from squizzle.analysis.annotations import Annotation
from squizzle.analysis.records import BatchOptions
from squizzle.durations import parse_duration
from squizzle.errors import InvalidInputError

# A range is one transaction; more rows than this in one would be what batches are there to avoid.
LARGEST_SIZE = 1_000_000
# PostgreSQL cuts names at NAMEDATALEN - 1 bytes, and a key of more columns than an index can have has no index.
_MOST_COLUMNS = 32
_LONGEST_PAUSE = timedelta(hours=1)
_NAME = re.compile(r'"(?:[^"]|"")+"|[^\W\d][\w$]*')
# Outside quotes: an even number of them follows.
_COMMA = re.compile(r',(?=(?:[^"]*"[^"]*")*[^"]*$)')
_SETTINGS = ("key", "size", "pause", "target", "max_replication_lag", "reads_own_table")


def read_batch_mark(marks: Sequence[Annotation]) -> BatchOptions:
    """The settings of the batch mark before a statement.

    Args:
        marks: All batch annotations before that statement; one is right.

    Raises:
        InvalidInputError: More than one mark, an unknown setting, or a value that is not what the setting wants.
    """
    mark = marks[0]
    if len(marks) > 1:
        raise InvalidInputError(f"{marks[1].where}: the statement is marked twice", hint="write one mark")
    if mark.arguments:
        _complain(mark, f"{mark.arguments[0]!r} is not name=value", "write settings like size=5000")
    unknown = sorted(set(mark.settings) - set(_SETTINGS))
    if unknown:
        raise InvalidInputError(
            f"{mark.where}: batch has no setting {', '.join(unknown)}", hint=f"it has: {', '.join(_SETTINGS)}"
        )
    qualifier, key = _key(mark)
    return BatchOptions(
        key=key,
        qualifier=qualifier,
        size=_size(mark),
        pause=_duration(mark, "pause", at_least=timedelta()),
        target=_duration(mark, "target", at_least=timedelta(milliseconds=1)),
        max_replication_lag=_duration(mark, "max_replication_lag", at_least=timedelta(milliseconds=1)),
        reads_own_table=_yes(mark, "reads_own_table"),
        line=mark.line,
    )


def _key(mark: Annotation) -> tuple[str, tuple[str, ...]]:
    text = mark.settings.get("key")
    if text is None:
        _complain(mark, "batch needs a key: the column that the ranges are of", "write key=id")
    columns: list[str] = []
    qualifiers: set[str] = set()
    for part in _COMMA.split(text):
        names = _names(part)
        if names is None:
            _complain(mark, f"key={text} is no column", 'write key=id, key=src.id, key=tenant_id,id or key="Id"')
        columns.append(names[-1])
        qualifiers.add(names[0] if len(names) > 1 else "")
    if len(set(columns)) != len(columns) or len(columns) > _MOST_COLUMNS or len(qualifiers) > 1:
        _complain(mark, f"key={text} names a column twice, or columns of several tables", "name columns of one table")
    return qualifiers.pop(), tuple(columns)


def _names(text: str) -> list[str] | None:
    """`src.id` as its names, folded as PostgreSQL folds them; None when it is none or more than two."""
    first = _NAME.match(text)
    if first is None:
        return None
    if first.end() == len(text):
        return [_fold(first[0])]
    second = _NAME.fullmatch(text, first.end() + 1)
    if text[first.end()] != "." or second is None:
        return None
    return [_fold(first[0]), _fold(second[0])]


def _fold(name: str) -> str:
    if name.startswith('"'):
        return name[1:-1].replace('""', '"')
    return "".join(letter.lower() if letter.isascii() else letter for letter in name)


def _size(mark: Annotation) -> int | None:
    text = mark.settings.get("size")
    if text is None:
        return None
    if not re.fullmatch("[0-9]{1,7}", text) or not 1 <= int(text) <= LARGEST_SIZE:
        _complain(mark, f"size={text} is no number of rows", f"write a whole number from 1 to {LARGEST_SIZE}")
    return int(text)


def _duration(mark: Annotation, name: str, *, at_least: timedelta) -> timedelta | None:
    text = mark.settings.get(name)
    if text is None:
        return None
    hint = f"write a whole number and a unit (500ms, 5s, 1m), at most {_LONGEST_PAUSE}"
    try:
        duration = parse_duration(text)
    except ValueError:
        _complain(mark, f"{name}={text} is no duration", hint)
    if not at_least <= duration <= _LONGEST_PAUSE:
        _complain(mark, f"{name}={text} is too short or too long", hint)
    return duration


def _yes(mark: Annotation, name: str) -> bool:
    text = mark.settings.get(name)
    if text not in {None, "yes", "no"}:
        _complain(mark, f"{name}={text} is neither yes nor no", f"write {name}=yes, or leave it out")
    return text == "yes"


def _complain(mark: Annotation, what: str, hint: str) -> NoReturn:
    raise InvalidInputError(f"{mark.where}: {what}", hint=hint)
