"""Reaching the databases of many servers, where a server that is down must cost its time once, not once a database."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta

from squizzle.errors import ConnectionFailedError
from squizzle.postgres.access import Connection, ServerAccess, connect, is_restarting
from squizzle.rollout.records import Fleet, FleetTarget
from squizzle.settings.fleets import resolve_server

# A restart takes a second or a few.
_PAUSE_S = 0.25


class Reach:
    """How servers are reached, and which of them do not answer.

    Args:
        accesses: Of each server, by name, and a database that is there.
        deadline: How long it may take to connect.
        purpose: What sessions are for.
        read_only: Whether sessions change nothing.
        sleep: Waits for so many seconds.
    """

    def __init__(
        self,
        accesses: Mapping[str, tuple[ServerAccess, str]],
        *,
        deadline: timedelta,
        purpose: str,
        read_only: bool = True,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._deadline_s = deadline.total_seconds()
        self._sleep = sleep
        self._accesses = {
            name: (replace(access, connect_timeout=min(access.connect_timeout, deadline)), database)
            for name, (access, database) in accesses.items()
        }
        self._purpose = purpose
        self._read_only = read_only
        self._down: dict[str, str] = {}
        self._lock = threading.Lock()

    def why_down(self, server: str) -> str:
        """Why a server is not tried any more; empty for one that is."""
        return self._down.get(server, "")

    def home(self, server: str) -> tuple[ServerAccess, str]:
        """How a server is reached, and a database that is there."""
        return self._accesses[server]

    def connect(
        self, server: str, database: str, *, was_there: bool = False, within_s: float | None = None
    ) -> Connection:
        """A session in autocommit, read-only unless it was said otherwise. A server that restarts is waited for.

        Args:
            server: Its name.
            database: The database's name.
            was_there: Whether it answered a moment ago, so that one that does not answer now may be restarting, too.
            within_s: For how long one that restarts is waited for, in seconds; None for the deadline.

        Raises:
            ConnectionFailedError: No answer, or not let in; if that is so of the whole server, it is remembered.
        """
        access = self._accesses[server][0]
        ends = time.monotonic() + (self._deadline_s if within_s is None else within_s)
        while True:
            try:
                return connect(access, database, purpose=self._purpose, read_only=self._read_only)
            except ConnectionFailedError as exc:
                is_late = not exc.retryable or time.monotonic() + _PAUSE_S > ends
                was_there = not is_late and (was_there or is_restarting(access, database))
                if not was_there:
                    self._notice(server, exc)
                    raise
            self._sleep(_PAUSE_S)

    def _notice(self, server: str, exc: ConnectionFailedError) -> None:
        """Whether it is the server that does not answer: then its other targets need not wait for that, one by one."""
        access, own = self._accesses[server]
        with self._lock:
            if server in self._down:
                return
            try:
                connect(access, own, purpose=self._purpose, read_only=True).close()
            except ConnectionFailedError:
                self._down[server] = exc.message


def servers_of(
    fleet: Fleet, targets: Iterable[FleetTarget], *, environ: Mapping[str, str]
) -> dict[str, tuple[ServerAccess, str]]:
    """How the servers of some targets are reached, by name.

    Raises:
        InvalidInputError: A variable is not set.
    """
    return {name: resolve_server(fleet.servers[name], environ=environ) for name in {one.server for one in targets}}
