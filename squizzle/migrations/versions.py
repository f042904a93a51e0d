"""The order of versions."""

from __future__ import annotations

import re
from functools import lru_cache

_RUNS = re.compile(r"(\d+)")
# Starts with a digit; no slash, quote or blank, so it can neither leave a folder nor need quoting anywhere.
_VERSION = re.compile(r"[0-9][0-9A-Za-z.+-]*")
# Repeatable migrations come after every versioned one: higher than any number of 64 bits, and than any timestamp.
_REPEATABLE = f"{10**20 - 1}-"


def is_version(text: str) -> bool:
    """Whether the text can be a version: digits first, then letters, digits, `.`, `+`, `-`."""
    return _VERSION.fullmatch(text) is not None


def repeatable_version(text: str) -> str:
    """The version of a repeatable migration: after all others, and among its kind in the order of the text."""
    return f"{_REPEATABLE}{text}"


def is_repeatable(version: str) -> bool:
    """Whether a version is that of a repeatable migration, which is run again whenever its text has changed.

    It has no place in the order of versions: it is never the current one, and nothing is older than it.
    """
    return version.startswith(_REPEATABLE)


# The same versions are compared again and again: on disk, in the history, in the plan.
@lru_cache(maxsize=16_384)
def version_key(version: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key for natural order: `1.9.0` < `1.10.0`, `0009` < `0010`, `9` < `0010`.

    Runs of digits compare as numbers and sort before text, so `1.0` < `1.0-rc` and `1.2` < `1.beta`.
    """
    parts = [part for part in _RUNS.split(version) if part]
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts)
