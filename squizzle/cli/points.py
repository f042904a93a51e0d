"""Points in time as they are given on the command line."""

from __future__ import annotations

from datetime import datetime

from squizzle.durations import parse_duration
from squizzle.errors import InvalidInputError


def point_in_time(text: str, now: datetime) -> datetime:
    """A point in time: an ISO time with its offset, or how long ago.

    Raises:
        InvalidInputError: It is neither.
    """
    try:
        if text[-1:] in {"s", "m", "h", "d"}:
            return now - parse_duration(text)
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        found = None
    if found is None or found.tzinfo is None:
        raise InvalidInputError(
            f"{text!r} is no time, or has no time zone",
            hint="write 2025-03-01T12:00+00:00, or an age such as 30m, 2h, 1d",
        )
    return found
