"""What is said about watching migrated targets, in `squizzle.toml` (`[fleets.NAME.watch]`) or in a block.

Imported by every verb, so it imports little itself; and it is no part of rollouts, which know the fleets' settings.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from squizzle.settings.reader import Reader, number_between

# Where a file of alert rules is named, this word stands for the rules that come with Squizzle.
SHIPPED_ALERTS = "guide"
_MOST_COUNTED = 10**9
_MOST_TIMES = 1000.0
_WHOLE_PCT = 100.0


@dataclass(frozen=True, kw_only=True, slots=True)
class SoakLimits:
    """Up to where all is well.

    Attributes:
        slower: So many times the mean of before, or of the other targets, a query may take.
        least_ms: A query that takes less is never too slow: its mean is mostly noise.
        least_calls: A mean of fewer calls says nothing.
        error_points: By so many percentage points errors may rise.
        least_transactions: Of fewer transactions no percentage is told.
        deadlocks: So many there may be after the migration, or as many as there were before in the same time.
        lock_waits: So many sessions may wait.
        replication_lag: So far a standby may be behind.
        budget: So many times the rehearsed time something may take.
        budget_floor: What took less is never beyond its budget.
        lock_wait: So long one script may have waited for locks.
        require_queries: Whether a person is asked where queries cannot be compared.
    """

    slower: float = 1.5
    least_ms: float = 1.0
    least_calls: int = 50
    error_points: float = 1.0
    least_transactions: int = 100
    deadlocks: int = 3
    lock_waits: int = 5
    replication_lag: timedelta = timedelta(seconds=30)
    budget: float = 2.0
    budget_floor: timedelta = timedelta(milliseconds=100)
    lock_wait: timedelta = timedelta(seconds=10)
    require_queries: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchSettings:
    """`[fleets.NAME.watch]`.

    Attributes:
        limits: Up to where all is well.
        alerts: Files of alert rules, seen from the file that names them; `guide` for those that come with Squizzle.
    """

    limits: SoakLimits = field(default_factory=SoakLimits)
    alerts: tuple[str, ...] = ()


def seen_from(folder: Path, settings: WatchSettings) -> WatchSettings:
    """The same with files of alert rules as they are seen from here; a folder's file names them as it sees them."""
    alerts = tuple(one if one == SHIPPED_ALERTS else str(folder / one) for one in settings.alerts)
    return replace(settings, alerts=alerts)


def read_watch(reader: Reader, where: str, value: object) -> WatchSettings:
    """The section; nothing is connected, and no other file is read.

    Args:
        reader: Of the file.
        where: What the section is called.
        value: The section.

    Raises:
        InvalidInputError: A setting is unknown or wrong.
    """
    section = reader.section(value, where)
    alerts = reader.texts(section, where, "alerts")
    default = SoakLimits()
    found: dict[str, Any] = {}
    for name, least, most in (("slower", 1.0, _MOST_TIMES), ("budget", 1.0, _MOST_TIMES)):
        found[name] = number_between(reader, section, where, name, least, most)
    found["least_ms"] = number_between(reader, section, where, "least_ms", 0.0, 3_600_000.0)
    found["error_points"] = number_between(reader, section, where, "error_points", 0.0, _WHOLE_PCT)
    for name in ("least_calls", "least_transactions", "deadlocks", "lock_waits"):
        number = number_between(reader, section, where, name, 0, _MOST_COUNTED, whole=True)
        found[name] = None if number is None else int(number)
    for name in ("replication_lag", "budget_floor", "lock_wait"):
        found[name] = reader.duration(section, where, name, getattr(default, name))
    required = section.pop("require_queries", default.require_queries)
    if not isinstance(required, bool):
        reader.complain(f"{where}.require_queries", "must be true or false")
    found["require_queries"] = required
    reader.nothing_left(section, where)
    given = {name: one for name, one in found.items() if one is not None}
    return WatchSettings(limits=replace(default, **given), alerts=alerts)
