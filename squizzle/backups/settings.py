"""What a project says about its backups. Imported by every verb, so it imports next to nothing itself."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class Retention:
    """How many backups of each database are kept. Days, ISO weeks and months are those of UTC.

    Attributes:
        daily: For so many of the newest days that have backups, the newest backup of the day.
        weekly: The same for weeks.
        monthly: The same for months.
    """

    daily: int = 7
    weekly: int = 4
    monthly: int = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class BackupSettings:
    """`[backups]`: where backups lie and how many are kept.

    Attributes:
        store: Address of the store that is meant without `--store`; None for none.
        retention: What `backups prune` keeps unless it is told otherwise.
    """

    store: str | None = None
    retention: Retention = field(default_factory=Retention)
