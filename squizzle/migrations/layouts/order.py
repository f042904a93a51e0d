"""The tool's order and the order of versions: they must be the same, or the folder is refused.

Planning and history order versions by `version_key` alone. A layout therefore says how its tool orders migrations, and
gives each a version text that sorts the same way; what cannot be written so is an error, never another order.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from squizzle.errors import InvalidInputError, VersionConflictError
from squizzle.migrations.records import Migration
from squizzle.migrations.versions import version_key

# Names as text, in the order of ASCII: hyphen, digits, capitals, underscore, small letters. The only other signs that a
# version may hold are + - . in this order; a digit stands alone behind its sign, so that 10 stays before 2 as in text.
NAMES: Mapping[str, str] = {
    "-": "+",
    **{character: f"-{character}" for character in string.digits + string.ascii_uppercase},
    "_": ".",
    **{letter: letter for letter in string.ascii_lowercase},
}


def as_version_text(text: str, alphabet: Mapping[str, str]) -> str | None:
    """Write a text so that `version_key` orders it as plain text is ordered, and no two become the same.

    Args:
        text: What is compared as text.
        alphabet: What each character becomes, in the order of characters.

    Returns:
        The text, or None when it holds a character that is not in the alphabet.
    """
    if any(character not in alphabet for character in text):
        return None
    return "".join(alphabet[character] for character in text)


def in_order(found: Iterable[tuple[Any, Migration]], *, tool: str) -> tuple[Migration, ...]:
    """Sort as the tool does, and make sure that versions sort the same.

    Args:
        found: Each migration with what the tool orders by; equal keys are the same version to it.
        tool: Its name, for messages.

    Raises:
        VersionConflictError: Two migrations have the same version, or versions that cannot be ordered (`1` and `01`).
        InvalidInputError: The tool runs them in another order than their numbers say. Nothing was changed.
    """
    ordered = sorted(found, key=lambda pair: (pair[0], pair[1].labels.up))
    _refuse_twins([migration for _key, migration in ordered])
    for (older_key, older), (newer_key, newer) in pairwise(ordered):
        if older_key == newer_key:
            raise same_version(older.version, older.source, newer.source)
        if version_key(older.version) > version_key(newer.version):
            raise InvalidInputError(
                f"{tool} runs {older.labels.up} before {newer.labels.up}, but {older.version} is the higher version",
                hint="rename them so that both orders are the same: numbers with the same count of digits",
            )
    return tuple(migration for _key, migration in ordered)


def _refuse_twins(migrations: Iterable[Migration]) -> None:
    seen: dict[object, Migration] = {}
    for migration in migrations:
        twin = seen.setdefault(version_key(migration.version), migration)
        if twin is not migration:
            raise same_version(migration.version, twin.source, migration.source)


def same_version(version: str, older: Path, newer: Path) -> VersionConflictError:
    """The error for two migrations that want the same place."""
    return VersionConflictError(
        f"version {version} is there twice: {older} and {newer}",
        hint="give one of them the next free version",
    )
