"""What is said about when a target is not well, in `squizzle.toml` (`[fleets.NAME.health]`) or in a block.

Imported by every verb, so it imports little itself; and it is no part of sweeps, which know the fleets' settings.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from squizzle.settings.reader import Reader, number_between

_WHOLE_PCT = 100.0
_MOST_COUNTED = 10**9
_MOST_BYTES = 10**15
# PostgreSQL takes no new transaction ids three million before 2^31 (PostgreSQL manual, 24.1.5).
_MOST_XIDS = 2**31 - 3_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class HealthLimits:
    """From where on something is wrong, and how long what was found is kept.

    Attributes:
        connections_pct, connections_critical_pct: Of the connections that the server allows.
        long_transaction: A transaction that is older holds up cleaning, and locks.
        idle_in_transaction: The same for one that does nothing.
        lock_waits: So many sessions waiting for longer than a second.
        prepared: A prepared transaction that is older was forgotten.
        xid_age, xid_age_critical: Transactions; at 2.1 billion the server stops (PostgreSQL manual, 24.1.5).
        replication_lag: A standby, or this one.
        slot_bytes: So much log a slot holds back.
        running: A migration that runs for longer.
        dead_pct, dead_rows: Dead rows in per cent of all, and at least so many of them.
        disk_free_pct, disk_free_critical_pct: Less than so much of a server's disk is still free.
        backup_age: The newest backup; one a day, and two hours for it.
        restore_age: The newest restore of a backup that was compared; one a month, and some days for it.
        keep_sweeps: How long what sweeps found is kept in the store.
    """

    connections_pct: float = 85.0
    connections_critical_pct: float = 95.0
    long_transaction: timedelta = timedelta(hours=1)
    idle_in_transaction: timedelta = timedelta(minutes=15)
    lock_waits: int = 10
    prepared: timedelta = timedelta(hours=1)
    xid_age: int = 1_500_000_000
    xid_age_critical: int = 2_000_000_000
    replication_lag: timedelta = timedelta(minutes=5)
    slot_bytes: int = 10 * 2**30
    running: timedelta = timedelta(minutes=30)
    dead_pct: float = 30.0
    dead_rows: int = 1_000_000
    disk_free_pct: float = 10.0
    disk_free_critical_pct: float = 5.0
    backup_age: timedelta = timedelta(hours=26)
    restore_age: timedelta = timedelta(days=35)
    keep_sweeps: timedelta = timedelta(days=90)


_PERCENTAGES = ("connections_pct", "connections_critical_pct", "dead_pct", "disk_free_pct", "disk_free_critical_pct")
_COUNTS = {
    "lock_waits": _MOST_COUNTED,
    "dead_rows": _MOST_BYTES,
    "slot_bytes": _MOST_BYTES,
    "xid_age": _MOST_XIDS,
    "xid_age_critical": _MOST_XIDS,
}
_TIMES = (
    "long_transaction",
    "idle_in_transaction",
    "prepared",
    "replication_lag",
    "running",
    "backup_age",
    "restore_age",
    "keep_sweeps",
)
# What moved is told by the sweeps of some hours.
_LEAST_KEPT = timedelta(days=1)
# The milder limit is reached first, or nobody is warned: of what grows, and of what is left.
_GROWS = (("connections_pct", "connections_critical_pct"), ("xid_age", "xid_age_critical"))
_SHRINKS = (("disk_free_pct", "disk_free_critical_pct"),)


def read_health(reader: Reader, where: str, value: object) -> HealthLimits:
    """The section; nothing is connected.

    Args:
        reader: Of the file.
        where: What the section is called.
        value: The section.

    Raises:
        InvalidInputError: A setting is unknown or wrong, or a critical limit is milder than its warning.
    """
    section = reader.section(value, where)
    default = HealthLimits()
    found: dict[str, Any] = {}
    for name in _PERCENTAGES:
        found[name] = number_between(reader, section, where, name, 0.0, _WHOLE_PCT)
    for name, most in _COUNTS.items():
        number = number_between(reader, section, where, name, 1, most, whole=True)
        found[name] = None if number is None else int(number)
    for name in _TIMES:
        found[name] = reader.duration(section, where, name, getattr(default, name))
    reader.nothing_left(section, where)
    limits = replace(default, **{name: one for name, one in found.items() if one is not None})
    if limits.keep_sweeps < _LEAST_KEPT:
        reader.complain(f"{where}.keep_sweeps", "must be 1d or longer")
    for mild, critical in _GROWS:
        if getattr(limits, mild) > getattr(limits, critical):
            reader.complain(f"{where}.{mild}", f"must not be more than {critical} ({getattr(limits, critical):g})")
    for mild, critical in _SHRINKS:
        if getattr(limits, mild) < getattr(limits, critical):
            reader.complain(f"{where}.{mild}", f"must not be less than {critical} ({getattr(limits, critical):g})")
    return limits
