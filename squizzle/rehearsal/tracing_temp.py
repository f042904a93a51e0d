"""How much a session writes to temporary files, statement by statement.

The server says the size of each temporary file that it removes, its parallel workers' included, when `log_temp_files`
is 0, and tells the session itself when `client_min_messages` is `log` (seen so on PostgreSQL 15 and 18). Only a
superuser may set the first. Nobody else learns more than the sum of a database, `pg_stat_database.temp_bytes`, which is
added to when a transaction is over.
"""

from __future__ import annotations

import re

import psycopg
from psycopg.errors import Diagnostic
from psycopg.pq import TransactionStatus

from squizzle.postgres.access import Connection

_SETTINGS = ("log_temp_files", "client_min_messages")
# The server's own function that says it; the sentence is in the language of `lc_messages`, the size its last number.
_SAID_BY = "ReportTemporaryFileUsage"
_LAST_NUMBER = re.compile(r"(\d+)\D*$")
_TEMP_BYTES = (
    "SELECT pg_catalog.pg_stat_get_db_temp_bytes(oid) FROM pg_catalog.pg_database"
    " WHERE datname = pg_catalog.current_database()"
)


class TemporaryFiles:
    """Listens to one session; the sizes that it was told, or the database's sum where it is told none.

    Args:
        connection: The session.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._told = 0
        self._sum = 0
        self.listens = False
        self._before: tuple[str, ...] = ()

    def open(self) -> None:
        """Begin to listen; outside a transaction."""
        row = self._connection.execute(
            "SELECT current_setting('log_temp_files'), current_setting('client_min_messages')"
        ).fetchone()
        self._before = tuple(row) if row else ()
        self._connection.add_notice_handler(self._hear)

    def close(self) -> None:
        """The session as it was."""
        self._connection.remove_notice_handler(self._hear)
        if not self.listens or self._connection.info.transaction_status is not TransactionStatus.IDLE:
            return  # a session that is lost, too
        for name, value in zip(_SETTINGS, self._before, strict=True):
            self._connection.execute("SELECT pg_catalog.set_config(%s, %s, false)", (name, value))

    def begin(self) -> None:
        """Ask the server to tell; outside a transaction, because being refused would end one."""
        try:
            self._connection.execute("SET log_temp_files = 0")
            self._connection.execute("SET client_min_messages = log")
        except psycopg.errors.InsufficientPrivilege:
            self.listens = False
            self._sum = self._sum_now()
        else:
            self.listens = True
        self._told = 0

    def keep_listening(self, settings: tuple[str, str, str]) -> None:
        """Ask again when a statement has taken the settings back.

        Args:
            settings: `log_temp_files`, `client_min_messages` and `is_superuser` as they are now.
        """
        files, messages, is_superuser = settings
        if self.listens and messages != "log":
            self._connection.execute("SET client_min_messages = log")
        if self.listens and files != "0" and is_superuser == "on":
            self._connection.execute("SET log_temp_files = 0")

    def take(self) -> int:
        """Bytes of the files that were told since the last time."""
        told, self._told = self._told, 0
        return told

    def take_sum(self) -> int:
        """Bytes that the database's sum grew by since the last time; 0 while the session is told itself."""
        if self.listens:
            return 0
        before, self._sum = self._sum, self._sum_now()
        return max(0, self._sum - before)

    def _sum_now(self) -> int:
        # The session gives its counters away when the statement that asks for it is over.
        self._connection.execute("SELECT pg_catalog.pg_stat_force_next_flush()")
        row = self._connection.execute(_TEMP_BYTES).fetchone()
        return int(row[0]) if row else 0

    def _hear(self, said: Diagnostic) -> None:
        size = _LAST_NUMBER.search(said.message_primary or "") if said.source_function == _SAID_BY else None
        self._told += int(size.group(1)) if size else 0
