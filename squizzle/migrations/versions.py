"""The order of versions."""

from __future__ import annotations

import re

_RUNS = re.compile(r"(\d+)")
# Starts with a digit; no slash, quote or blank, so it can neither leave a folder nor need quoting anywhere.
_VERSION = re.compile(r"[0-9][0-9A-Za-z.+-]*")


def is_version(text: str) -> bool:
    """Whether the text can be a version: digits first, then letters, digits, `.`, `+`, `-`."""
    return _VERSION.fullmatch(text) is not None


def version_key(version: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key for natural order: `1.9.0` < `1.10.0`, `0009` < `0010`, `9` < `0010`.

    Runs of digits compare as numbers and sort before text, so `1.0` < `1.0-rc` and `1.2` < `1.beta`.
    """
    parts = [part for part in _RUNS.split(version) if part]
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts)
