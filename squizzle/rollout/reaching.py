"""Reaching the databases of many servers, where a server that is down must cost its time once, not once a database."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta

from squizzle.errors import ConnectionFailedError
from squizzle.fleet_settings import resolve_server
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.rollout.records import Fleet, FleetTarget


class Reach:
    """How servers are reached, and which of them do not answer.

    Args:
        accesses: Of each server, by name, and a database that is there.
        deadline: How long it may take to connect.
        purpose: What sessions are for.
        read_only: Whether sessions change nothing.
    """

    def __init__(
        self,
        accesses: Mapping[str, tuple[ServerAccess, str]],
        *,
        deadline: timedelta,
        purpose: str,
        read_only: bool = True,
    ) -> None:
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

    def connect(self, server: str, database: str) -> Connection:
        """A session in autocommit, read-only unless it was said otherwise.

        Raises:
            ConnectionFailedError: No answer, or not let in; if that is so of the whole server, it is remembered.
        """
        try:
            return connect(self._accesses[server][0], database, purpose=self._purpose, read_only=self._read_only)
        except ConnectionFailedError as exc:
            self._notice(server, exc)
            raise

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
