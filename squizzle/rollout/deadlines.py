"""A server that stopped answering ends no wait by itself: sessions are cut when their time is up."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

from squizzle.postgres.access import Connection


class Limit:
    """How long one session may take. Its end can be moved; `passed` says whether the session was cut."""

    def __init__(self, connection: Connection, until: float) -> None:
        self.connection = connection
        self.until = until
        self.passed = False

    def extend(self, seconds: float) -> None:
        """So long from now."""
        self.until = time.monotonic() + seconds


class Deadlines:
    """One thread that cuts the sessions of many; `statement_timeout` needs a server that answers, this does not."""

    def __init__(self, *, look_every_s: float = 0.1) -> None:
        self._look_every_s = look_every_s
        self._limits: set[Limit] = set()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="squizzle deadlines", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    @contextmanager
    def limit(self, connection: Connection, seconds: float) -> Iterator[Limit]:
        """Cut the session when the block takes longer; whoever waits for it gets a `psycopg.OperationalError`."""
        limit = Limit(connection, time.monotonic() + seconds)
        with self._lock:
            self._limits.add(limit)
        try:
            yield limit
        finally:
            # Before it is closed, for its number may be another session's then.
            with self._lock:
                self._limits.discard(limit)

    def _watch(self) -> None:
        while not self._ended.wait(self._look_every_s):
            now = time.monotonic()
            with self._lock:
                for limit in [one for one in self._limits if one.until < now]:
                    self._limits.discard(limit)
                    limit.passed = True
                    _cut(limit.connection)


def _cut(connection: Connection) -> None:
    """Both directions of its socket, which wakes whoever waits for it; the session itself is closed by its owner."""
    with suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as ours:
        ours.shutdown(socket.SHUT_RDWR)
