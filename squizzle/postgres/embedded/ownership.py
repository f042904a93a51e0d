"""Which clusters this process owns.

Owning means holding the cluster's lock and, while a guarded server runs, the pipe to its guardian. Both belong to the
process, not to an object in it: a server must not stop because a `Cluster` was garbage-collected.
"""

from __future__ import annotations

import atexit
import os
from dataclasses import dataclass
from datetime import timedelta
from functools import cache

from .guardian import PATIENCE_S, Guardian
from .layout import Layout
from .locking import FileLock

_owned: dict[Layout, Ownership] = {}


@dataclass(kw_only=True, slots=True)
class Ownership:
    """What this process holds of one cluster.

    Attributes:
        lock: The lock, held.
        guardian: The guardian of the running server, if this process started one.
        process: The process this is true in; a forked child has the object, but neither the lock nor the pipe.
    """

    lock: FileLock
    guardian: Guardian | None
    process: int

    def bury_guardian(self) -> None:
        """Waits for the guardian whose server is gone."""
        if self.guardian is not None and not self.guardian.wait(PATIENCE_S):
            self.guardian.let_go()
        self.guardian = None


def owned(layout: Layout) -> Ownership | None:
    """Returns what this process holds of a cluster, None when it does not own it."""
    found = _owned.get(layout)
    return found if found is not None and found.process == os.getpid() else None


def take(layout: Layout, *, wait: timedelta = timedelta(0)) -> Ownership | None:
    """Makes this process the owner of a cluster, or finds that it is.

    Args:
        layout: The cluster; its folder must exist.
        wait: How long to wait for another owner to give it up.

    Returns:
        What it holds; None when another process owns the cluster.

    Raises:
        FileNotFoundError: The cluster's folder is gone.
    """
    found = owned(layout)
    if found is None:
        lock = FileLock(layout.lock)
        if not lock.acquire(wait=wait):
            return None
        _end_servers_at_exit()
        found = _owned[layout] = Ownership(lock=lock, guardian=None, process=os.getpid())
    return found


def holder(layout: Layout) -> str:
    """Returns the process id of the cluster's owner, for messages; it may be out of date."""
    return FileLock(layout.lock).holder()


def give_up(layout: Layout) -> None:
    """Ends this process's ownership; a guarded server that still runs is stopped by its guardian."""
    found = owned(layout)
    if found is None:
        return
    del _owned[layout]
    if found.guardian is not None:
        found.guardian.let_go()
    found.lock.release()


@cache
def _end_servers_at_exit() -> None:
    atexit.register(_end_servers)


def _end_servers() -> None:
    # The end of the process would do it too, but then nobody would wait for the servers to be gone.
    guardians = [found.guardian for layout in list(_owned) if (found := owned(layout)) and found.guardian]
    for guardian in guardians:
        guardian.let_go()
    for guardian in guardians:
        guardian.wait(PATIENCE_S)
