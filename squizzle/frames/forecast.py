"""What a recovery hears of drills, without waiting for pandas where none was kept."""

from __future__ import annotations

from squizzle.backups.store import BackupStore
from squizzle.drills.figures import DRILLS
from squizzle.recovery.ways import DrilledWay


def drilled_in(store: BackupStore) -> tuple[DrilledWay, ...]:
    """What each way back took in the drills that a store has; what is damaged of them is left out.

    Raises:
        ToolError: The store cannot be read.
    """
    if not store.list_paths(DRILLS):
        return ()
    from squizzle.frames.drills import drilled_ways, read_drills  # noqa: PLC0415 - pandas costs 0.7 s

    return drilled_ways(read_drills(store).figures)
