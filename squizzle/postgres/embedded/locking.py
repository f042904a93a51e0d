"""An inter-process lock that ends with its process, and file descriptors that forked children do not keep."""

from __future__ import annotations

import fcntl
import os
import time
from datetime import timedelta
from functools import cache
from pathlib import Path

_POLL_S = 0.02
"""flock has no time limit of its own, so waiting is asking again; 20 ms is far below what the waited-for work takes."""

_private_descriptors: set[int] = set()


class FileLock:
    """An exclusive flock on a file; the kernel gives it up when the process ends, however it ends.

    Args:
        path: The lock file; made when it is missing, in a folder that exists.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self, *, wait: timedelta = timedelta(0)) -> bool:
        """Tries to get the lock, and writes our process id into the file.

        Args:
            wait: How long to keep trying.

        Returns:
            Whether we have it now.

        Raises:
            FileNotFoundError: The folder of the lock file is gone.
        """
        deadline = time.monotonic() + wait.total_seconds()
        while not self._try():
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_S)
        return True

    def release(self) -> None:
        """Gives the lock up; the file stays."""
        if self._descriptor is not None:
            close_private(self._descriptor)
            self._descriptor = None

    def holder(self) -> str:
        """Returns the process id that the file names, for messages; it may be out of date."""
        try:
            return self._path.read_text().strip() or "unknown"
        except OSError:
            return "unknown"

    def _try(self) -> bool:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        if not self._is_still_the_file(descriptor):
            # The holder before us deleted the file: our lock is on something that nobody else will ever ask for.
            os.close(descriptor)
            return False
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        keep_private(descriptor)
        self._descriptor = descriptor
        return True

    def _is_still_the_file(self, descriptor: int) -> bool:
        try:
            found = self._path.lstat()
        except FileNotFoundError:
            return False
        ours = os.fstat(descriptor)
        return (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino)


def keep_private(descriptor: int) -> None:
    """Has a descriptor closed in children that are forked without exec (multiprocessing), where it would live on.

    Args:
        descriptor: One that is close-on-exec, as Python makes them.
    """
    _arrange_for_forks()
    _private_descriptors.add(descriptor)


def close_private(descriptor: int) -> None:
    """Closes a descriptor that `keep_private` was told of; once is enough."""
    if descriptor in _private_descriptors:
        _private_descriptors.discard(descriptor)
        os.close(descriptor)


@cache
def _arrange_for_forks() -> None:
    os.register_at_fork(after_in_child=_close_all)


def _close_all() -> None:
    for descriptor in list(_private_descriptors):
        close_private(descriptor)
