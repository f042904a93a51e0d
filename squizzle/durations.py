"""How people write a length of time (`500ms`, `5s`, `30m`, `2h`, `1d`), and how it is told to them."""

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


_TENTHS_BELOW_S = 10
_MINUTE_S, _HOUR_S = 60, 3600


def about(duration: timedelta) -> str:
    """A length of time as exactly as an estimate deserves: `12 s`, `3 min`, `2.1 h`; never nothing."""
    seconds = duration.total_seconds()
    if seconds < _MINUTE_S:
        return f"{max(1, round(seconds))} s"
    if seconds < _HOUR_S:
        return f"{round(seconds / _MINUTE_S)} min"
    return f"{seconds / _HOUR_S:.1f} h"


def words(duration: timedelta) -> str:
    """A length of time for a person: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`."""
    seconds = duration.total_seconds()
    if seconds < _TENTHS_BELOW_S:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, lesser, smaller in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // lesser
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"
