"""How people write a length of time: `500ms`, `5s`, `30m`, `2h`, `1d`."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_duration(text: str) -> timedelta:
    """Read `500ms`, `5s`, `30m`, `2h`, `1d`; ValueError for anything else."""
    match = re.fullmatch(r"(\d+) ?(ms|s|m|h|d)", text)
    if match is None:
        raise ValueError("a duration is a whole number and a unit: ms, s, m, h, d")
    try:
        return timedelta(**{_UNITS[match[2]]: int(match[1])})
    except OverflowError as exc:
        raise ValueError("a duration of millions of years") from exc
