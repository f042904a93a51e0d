"""A rehearsal, to be killed in the middle of it (`tests.support.killed`)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from squizzle.backups.folder_store import FolderStore
from squizzle.postgres.access import ServerAccess
from squizzle.recovery.scratch_copy import ScratchPlace
from squizzle.rehearsal.place import PlaceOrder, rehearsal_place


def work(begin: Callable[[], None], *, server_access: Mapping[str, Any], store: str, backup: str) -> None:
    """Have a base and a work copy of it, and then change the world."""
    opened = FolderStore(Path(store))
    saved = opened.read(backup)
    scratch = ScratchPlace(server=ServerAccess(**server_access))
    order = PlaceOrder(store=opened, backup=saved, database=saved.database, by="ann", scratch=scratch)
    with rehearsal_place(order) as place, place.fresh():
        begin()
        os.mkdir(Path(store) / "never")  # noqa: PTH102 - the step before which it is killed
