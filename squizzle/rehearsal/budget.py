"""A limit on how long a rehearsal may work, kept by cancelling what runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import psycopg

from squizzle.postgres.access import Connection

# A script that begins its next statement right after one was cancelled is cancelled again.
_AGAIN_S = 0.2


@dataclass(kw_only=True, slots=True)
class Budget:
    """How long the work inside may take.

    Attributes:
        limit: That long.
        ended: Whether it was cut off.
    """

    limit: timedelta
    ended: bool = field(default=False)


@contextmanager
def within(connection: Connection, limit: timedelta) -> Iterator[Budget]:
    """Cancel whatever this session runs once the time is up, until the block is left.

    The cancelled statement fails with SQLSTATE 57014; the budget says whether it was this that ended it.
    """
    budget = Budget(limit=limit)
    left = threading.Event()

    def watch() -> None:
        if left.wait(limit.total_seconds()):
            return
        budget.ended = True
        while not left.is_set() and not connection.closed:
            try:
                connection.cancel_safe(timeout=5)
            except psycopg.Error:  # nobody to tell: the session, or the server, has gone
                return
            left.wait(_AGAIN_S)

    thread = threading.Thread(target=watch, name="squizzle budget", daemon=True)
    thread.start()
    try:
        yield budget
    finally:
        left.set()
        thread.join()
