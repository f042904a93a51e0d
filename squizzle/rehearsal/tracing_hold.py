"""Makes a statement outside a transaction wait for a moment, so that its locks can be seen.

CREATE INDEX CONCURRENTLY on a small table is over before anybody has looked. It waits for whoever has an older
snapshot, DROP INDEX CONCURRENTLY and ACCESS EXCLUSIVE for whoever reads the table; so a session of ours reads it, and
lets go as soon as the statement is seen waiting for it. VACUUM and ANALYZE wait for none of these, only for their own
kind.
"""

from __future__ import annotations

from contextlib import suppress

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from squizzle.analysis.locks.forecast import predict_locks
from squizzle.analysis.locks.records import RelationName
from squizzle.analysis.records import Statement
from squizzle.errors import SquizzleError
from squizzle.postgres.access import Connection, second_session, server_pid

# If nobody releases it (the watching session was lost), the server does. It never waits itself.
_SESSION = "SET idle_in_transaction_session_timeout = '2s'; SET lock_timeout = '50ms'"
# Tables as the script's session finds them: of an index, the table; views and the like are never locked so.
_TABLES = """
    SELECT DISTINCT n.nspname, t.relname
    FROM unnest(%s::text[]) AS named (name)
    JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(named.name)
    LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
    JOIN pg_catalog.pg_class t ON t.oid = COALESCE(i.indrelid, c.oid)
    JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
    WHERE t.relkind IN ('r', 'p', 'm')
"""
_OWN_KIND = ("VACUUM", "ANALYZE", "ANALYSE")


class HarmlessHold:
    """A session that uses what the next statement names; `release` may be called from any thread, and again.

    Args:
        connection: The session that runs the script.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._holder: Connection | None = None

    def take(self, statement: Statement) -> int | None:
        """Use the tables of a statement that PostgreSQL runs outside transactions only.

        Returns:
            The server process that the statement will wait for; None when there is nothing to hold.

        Raises:
            psycopg.Error: The script's session was lost.
        """
        # SKIP_LOCKED would leave out what we hold.
        if statement.transactional or "SKIP_LOCKED" in statement.sql.upper():
            return None
        names = [_quoted(lock.relation) for lock in predict_locks(statement).locks]
        tables = self._connection.execute(_TABLES, (names,)).fetchall() if names else []
        if not tables:
            return None
        try:
            return self._use([sql.Identifier(*table) for table in tables], own_kind=statement.words[:1] in _FIRST_WORDS)
        except (psycopg.Error, SquizzleError):
            # Without it the statement is watched all the same; a table that may not be read, a server that is full.
            self.close()
            return None

    def _use(self, tables: list[sql.Identifier], *, own_kind: bool) -> int:
        if self._holder is None or self._holder.closed:
            self._holder = second_session(self._connection, purpose="rehearsal hold")
            self._holder.execute(_SESSION)
        self._holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        command = "LOCK TABLE {} IN SHARE UPDATE EXCLUSIVE MODE" if own_kind else "SELECT FROM {} LIMIT 0"
        for table in tables:
            self._holder.execute(sql.SQL(command).format(table))
        return server_pid(self._holder)

    def release(self) -> None:
        """Let go of everything."""
        if self._holder is None or self._holder.info.transaction_status is TransactionStatus.IDLE:
            return
        try:
            self._holder.execute("ROLLBACK")
        except psycopg.Error:
            self.close()  # ending the session lets go, too

    def close(self) -> None:
        """End the session."""
        if self._holder is not None:
            with suppress(psycopg.Error):
                self._holder.close()
            self._holder = None


_FIRST_WORDS = tuple((word,) for word in _OWN_KIND)


def _quoted(relation: RelationName) -> str:
    names = (relation.schema, relation.name) if relation.schema else (relation.name,)
    return ".".join(sql.Identifier(name).as_string(None) for name in names)
