"""Asking a copy whose server begins anew when what it reads makes it crash."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import psycopg

from squizzle.postgres.access import Connection
from squizzle.postgres.translation import is_connection_loss
from squizzle.recovery.corruption.copying import DamagedCopy

_Answer = TypeVar("_Answer")


class Asker:
    """A session in a running copy that is opened when it is needed, and anew after a crash.

    Args:
        copy: Which copy.
        database: Where in it.
        ignore: Whether pages are read whose checksum is wrong.
    """

    def __init__(self, copy: DamagedCopy, database: str, *, ignore: bool = False) -> None:
        self._copy = copy
        self._database = database
        self._ignore = ignore
        self._session: Connection | None = None

    def close(self) -> None:
        """End the session."""
        if self._session is not None:
            self._session.close()
        self._session = None

    def ask(self, what: Callable[[Connection], _Answer]) -> _Answer:
        """Do something in the session, once more if it was lost: the first crash may be another's, which takes all.

        Raises:
            psycopg.Error: As `what` raises it; a connection that was lost twice has most likely crashed by what was
                asked.
        """
        try:
            return what(self._connection())
        except psycopg.Error as exc:
            if not is_connection_loss(exc):
                raise
        self.close()
        try:
            return what(self._connection())
        except psycopg.Error as exc:
            if is_connection_loss(exc):
                self.close()
            raise

    def _connection(self) -> Connection:
        if self._session is None or self._session.closed:
            self._session = self._copy.connect_again(self._database, ignore=self._ignore)
        return self._session
