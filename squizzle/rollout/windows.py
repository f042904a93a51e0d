"""When a rollout may work: windows by the clock on a wall, and freezes. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from squizzle.rollout.records import WEEK, Window
from squizzle.settings.fleets import Freeze

_DAY = timedelta(days=1)
# A window is open at least once in a week, but for an hour that the clock leaves out: then the week after.
_SEARCHED = timedelta(days=15)


@dataclass(frozen=True, kw_only=True, slots=True)
class Opening:
    """When work may begin.

    Attributes:
        at: The first allowed moment, now or later, in UTC; None when there is none that is known.
        why: What forbids it now; empty when nothing does.
    """

    at: datetime | None
    why: str = ""


def is_open(window: Window, now: datetime) -> bool:
    """Whether the clock on the wall of the window's zone shows a time of the window.

    An hour that the clock leaves out is in no window; one that it shows twice is open twice.

    Args:
        window: Which.
        now: An aware time.
    """
    local = now.astimezone(window.zone)
    clock = local.time()
    today = WEEK[local.weekday()] in window.days
    if window.begin < window.end:
        return today and window.begin <= clock < window.end
    yesterday = WEEK[(local - _DAY).weekday()] in window.days
    return (today and clock >= window.begin) or (yesterday and clock < window.end)


def is_allowed(now: datetime, *, windows: Sequence[Window], freezes: Sequence[Freeze]) -> bool:
    """Whether work may be done at this moment."""
    return _frozen(now, freezes) is None and _is_in_window(now, windows)


def next_allowed(now: datetime, *, windows: Sequence[Window], freezes: Sequence[Freeze]) -> Opening:
    """When work may be done: now, or the first moment after it.

    Args:
        now: An aware time.
        windows: When the stage may work; empty for always.
        freezes: When nothing may.
    """
    why, at = _why(now, windows, freezes), now.astimezone(UTC)
    while True:
        freeze = _frozen(at, freezes)
        if freeze is not None:
            if freeze.until is None:
                return Opening(at=None, why=why)
            at = freeze.until.astimezone(UTC)
        elif _is_in_window(at, windows):
            return Opening(at=at, why=why)
        else:
            opens = _next_opening(at, windows)
            if opens is None:
                return Opening(at=None, why=why)
            at = opens


def _why(now: datetime, windows: Sequence[Window], freezes: Sequence[Freeze]) -> str:
    freeze = _frozen(now, freezes)
    if freeze is not None:
        until = f"{freeze.until:%Y-%m-%d %H:%M %Z}" if freeze.until else "further notice"
        return f"frozen until {until}: {freeze.reason}"
    return "" if _is_in_window(now, windows) else f"outside of its windows ({', '.join(map(describe, windows))})"


def describe(window: Window) -> str:
    """A window in words."""
    days = "daily" if window.days == WEEK else " ".join(window.days)
    end = "24:00" if window.end == time() else f"{window.end:%H:%M}"
    return f"{days} {window.begin:%H:%M}-{end} {window.zone.key}"


def _frozen(now: datetime, freezes: Sequence[Freeze]) -> Freeze | None:
    """The freeze of that moment that ends last."""
    begun = [one for one in freezes if one.begin <= now and (one.until is None or now < one.until)]
    return max(begun, key=lambda one: (one.until is None, one.until or one.begin), default=None)


def _is_in_window(now: datetime, windows: Sequence[Window]) -> bool:
    return not windows or any(is_open(window, now) for window in windows)


def _next_opening(after: datetime, windows: Sequence[Window]) -> datetime | None:
    moments = {moment for window in windows for moment in _moments(window, after)}
    return next((moment for moment in sorted(moments) if moment > after and _is_in_window(moment, windows)), None)


def _moments(window: Window, after: datetime) -> Iterator[datetime]:
    """Every moment of the next days at which the window may open: its beginnings, and whenever the clock is changed."""
    first = after.astimezone(window.zone).date() - _DAY
    for day in (first + _DAY * number for number in range(_SEARCHED.days + 2)):
        for fold in (0, 1):
            yield datetime.combine(day, window.begin.replace(fold=fold), window.zone).astimezone(UTC)
        changed = _clock_change(window, day)
        if changed is not None:
            yield changed


def _clock_change(window: Window, day: date) -> datetime | None:
    """When the clock is changed on that day, to the second."""
    begin = datetime.combine(day, time(), UTC)
    lowest, highest = 0, int(_DAY.total_seconds())

    def offset(seconds: int) -> timedelta | None:
        return (begin + timedelta(seconds=seconds)).astimezone(window.zone).utcoffset()

    if offset(lowest) == offset(highest):
        return None
    while highest - lowest > 1:
        middle = (lowest + highest) // 2
        lowest, highest = (middle, highest) if offset(middle) == offset(lowest) else (lowest, middle)
    return begin + timedelta(seconds=highest)
