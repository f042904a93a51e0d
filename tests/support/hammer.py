"""Clients that behave like connection pools in an outage: each comes back at once, for ever."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from squizzle.postgres.access import ServerAccess

NAME = "hammering client"
_BACK_OFF_S = 0.002


class Hammer:
    """Threads that connect and write until they are told to stop.

    Attributes:
        connects: How often somebody got in.
        refusals: The first line of every refusal, once.
    """

    def __init__(self, access: ServerAccess, database: str, *, clients: int, work: str) -> None:
        self.connects = 0
        self.refusals: set[str] = set()
        self._access = access
        self._database = database
        self._work = work
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._hammer, daemon=True) for _ in range(clients)]

    def start(self) -> None:
        """Let them go."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Wait until the last one has gone."""
        self._stop.set()
        for thread in self._threads:
            thread.join(10)

    def _hammer(self) -> None:
        while not self._stop.is_set():
            try:
                self._be_a_client()
            except psycopg.Error as exc:
                self.refusals.add(str(exc).strip().splitlines()[-1])
                # A pool waits much longer; without any wait the threads would only fight for the interpreter.
                self._stop.wait(_BACK_OFF_S)

    def _be_a_client(self) -> None:
        with psycopg.connect(
            host=self._access.host,
            port=self._access.port,
            user=self._access.user,
            dbname=self._database,
            application_name=NAME,
            autocommit=True,
        ) as session:
            self.connects += 1
            while not self._stop.is_set():
                session.execute(self._work.encode())


@contextmanager
def hammering(access: ServerAccess, database: str, *, clients: int = 4, work: str = "SELECT 1") -> Iterator[Hammer]:
    """Clients for the length of a block; they are in before it begins."""
    hammer = Hammer(access, database, clients=clients, work=work)
    hammer.start()
    try:
        yield hammer
    finally:
        hammer.stop()
