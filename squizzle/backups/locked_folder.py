"""Folders that belong to their maker while he lives: they are locked, and the kernel lets go of a lock however he ends.

Who cleans takes the lock first. So what a killed run left can be told from what a living one is writing, by any process
that sees the file system, whatever its process ids mean.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from pathlib import Path


def make_locked(path: Path) -> int:
    """Make a folder, readable for us alone, and lock it.

    Returns:
        The descriptor that holds the lock; whoever closes it gives the folder up.

    Raises:
        OSError: It cannot be made, or is there already.
    """
    while True:
        path.mkdir(mode=0o700)
        with contextlib.suppress(FileNotFoundError):  # a cleaner took it for a leftover before it was locked
            lock = os.open(path, os.O_RDONLY)
            # A cleaner that has the lock is removing it: wait, look, and make it anew.
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                is_ours = os.path.samestat(os.fstat(lock), path.stat())
            except FileNotFoundError:
                is_ours = False
            if is_ours:
                return lock
            os.close(lock)


def take_abandoned(path: Path) -> int | None:
    """Lock a folder that nobody holds any more.

    Returns:
        The descriptor that holds the lock; None when its maker lives, or there is no such folder.

    Raises:
        OSError: It cannot be looked at.
    """
    try:
        lock = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def remove_abandoned(path: Path) -> bool:
    """Remove a folder unless somebody holds its lock; whether it was removed."""
    lock = take_abandoned(path)
    if lock is None:
        return False
    try:
        shutil.rmtree(path)
    except FileNotFoundError:  # its maker, or another cleaner, was faster
        return False
    else:
        return True
    finally:
        os.close(lock)
