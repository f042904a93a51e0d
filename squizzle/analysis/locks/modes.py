"""PostgreSQL's table-level lock modes (manual, "Explicit Locking")."""

from __future__ import annotations

from enum import StrEnum


class LockMode(StrEnum):
    """A table-level lock mode, called as LOCK TABLE calls it; from the weakest to the strongest."""

    ACCESS_SHARE = "ACCESS SHARE"
    ROW_SHARE = "ROW SHARE"
    ROW_EXCLUSIVE = "ROW EXCLUSIVE"
    SHARE_UPDATE_EXCLUSIVE = "SHARE UPDATE EXCLUSIVE"
    SHARE = "SHARE"
    SHARE_ROW_EXCLUSIVE = "SHARE ROW EXCLUSIVE"
    EXCLUSIVE = "EXCLUSIVE"
    ACCESS_EXCLUSIVE = "ACCESS EXCLUSIVE"

    @property
    def strength(self) -> int:
        """1 for ACCESS SHARE … 8 for ACCESS EXCLUSIVE, as in PostgreSQL's lockdefs.h."""
        return _STRENGTHS[self]

    @property
    def in_pg_locks(self) -> str:
        """What `pg_locks.mode` calls it: `AccessExclusiveLock`."""
        return f"{self.value.title().replace(' ', '')}Lock"

    @property
    def conflicts(self) -> tuple[LockMode, ...]:
        """The modes that it waits for, and that wait for it."""
        return _CONFLICTS[self]

    @property
    def blocks_reads(self) -> bool:
        """Whether SELECT has to wait."""
        return LockMode.ACCESS_SHARE in self.conflicts

    @property
    def blocks_writes(self) -> bool:
        """Whether INSERT, UPDATE and DELETE have to wait."""
        return LockMode.ROW_EXCLUSIVE in self.conflicts


_ORDER = tuple(LockMode)
_STRENGTHS = {mode: place for place, mode in enumerate(_ORDER, start=1)}
_BY_PG_LOCKS = {mode.in_pg_locks: mode for mode in LockMode}

_WRITERS = (LockMode.ROW_EXCLUSIVE,)
_STRONG = (
    LockMode.SHARE,
    LockMode.SHARE_ROW_EXCLUSIVE,
    LockMode.EXCLUSIVE,
    LockMode.ACCESS_EXCLUSIVE,
)
_EXCLUSIVE = (LockMode.SHARE_ROW_EXCLUSIVE, LockMode.EXCLUSIVE, LockMode.ACCESS_EXCLUSIVE)
_CONFLICTS = {
    LockMode.ACCESS_SHARE: (LockMode.ACCESS_EXCLUSIVE,),
    LockMode.ROW_SHARE: (LockMode.EXCLUSIVE, LockMode.ACCESS_EXCLUSIVE),
    LockMode.ROW_EXCLUSIVE: _STRONG,
    LockMode.SHARE_UPDATE_EXCLUSIVE: (LockMode.SHARE_UPDATE_EXCLUSIVE, *_STRONG),
    LockMode.SHARE: (*_WRITERS, LockMode.SHARE_UPDATE_EXCLUSIVE, *_EXCLUSIVE),
    LockMode.SHARE_ROW_EXCLUSIVE: (*_WRITERS, LockMode.SHARE_UPDATE_EXCLUSIVE, *_STRONG),
    LockMode.EXCLUSIVE: _ORDER[1:],
    LockMode.ACCESS_EXCLUSIVE: _ORDER,
}


def lock_mode(name: str) -> LockMode | None:
    """The mode that `pg_locks.mode` calls so; None for locks that are none on a table (`SIReadLock`)."""
    return _BY_PG_LOCKS.get(name)
