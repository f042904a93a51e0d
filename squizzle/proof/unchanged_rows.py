"""Fingerprinting a database again that was fingerprinted before: only tables with other rows are read as a whole.

Every version of a row says which transaction wrote it (`xmin`: manual, "System Columns"). If none of the rows that are
there now was written by a transaction that the earlier fingerprint did not see, and there are as many as then, they are
the same rows: what is there now was there then, and nothing is missing. That holds whoever wrote them and however: by a
trigger, a foreign key, a function, into a partition, from another session. One look at `xmin` costs a fraction of
reading and hashing every value. No statistics and no locks are asked.

Rows that were frozen meanwhile, or written anew by VACUUM FULL or CLUSTER, keep their `xmin`; ALTER TABLE gives new
ones when it writes a table anew. What else the text of a row depends on is compared, see `readable_tables.sql`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from psycopg import sql

from squizzle.postgres.access import Connection
from squizzle.postgres.sql_files import load_sql
from squizzle.proof.digests import TableRows, digest_in_snapshot, digest_whole_table, read_snapshot
from squizzle.proof.records import DatabaseDigest, TableDigest

# A row is looked up among them; more than a big migration in batches needs, and few enough to be sent each time.
_MOST_TRANSACTIONS = 20_000
_XIDS = 2**32


@dataclass(frozen=True, kw_only=True, slots=True)
class _State:
    """What a database was like when it had a fingerprint.

    Attributes:
        oldest: Transactions from this one on were not seen by it, or not all of them; with the epoch.
        readable: Of each table whose changes can be told later, what the text of its rows depends on.
        digest: The fingerprint.
    """

    oldest: int
    readable: Mapping[str, str]
    digest: DatabaseDigest


class RowMemory:
    """What the databases of one server were like when they were last fingerprinted, by name.

    A database of that name must stay the same one: names must not be used again.
    """

    def __init__(self) -> None:
        self._known: dict[str, _State] = {}

    def start(self, connection: Connection, digest: DatabaseDigest) -> None:
        """Take it that a database has this fingerprint now, as a fresh copy has that of what it is a copy of.

        Args:
            connection: A session in it outside any transaction. Nobody writes there until this returns.
            digest: Its fingerprint without Squizzle's own tables.
        """
        with read_snapshot(connection):
            self._remember(connection, digest)

    def digest(self, connection: Connection) -> DatabaseDigest:
        """The same as `digest_database` gives.

        Args:
            connection: A session outside any transaction that may read every table.

        Raises:
            DatabaseError: A table may not be read, or the session was lost.
        """
        known = self._known.get(connection.info.dbname)
        with read_snapshot(connection):
            reader = _Reader(connection, known) if known else None
            digest = digest_in_snapshot(connection, digest_table=reader.digest_table if reader else None)
            self._remember(connection, digest)
        return digest

    def _remember(self, connection: Connection, digest: DatabaseDigest) -> None:
        row = connection.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text").fetchone()
        if row is None:
            raise AssertionError("a function returned no row")
        self._known[connection.info.dbname] = _State(oldest=int(row[0]), readable=_readable(connection), digest=digest)


def _readable(connection: Connection) -> Mapping[str, str]:
    return dict(connection.execute(load_sql("squizzle.proof", "readable_tables").encode()).fetchall())


class _Reader:
    """Digests tables in one snapshot, with the help of what they were before."""

    def __init__(self, connection: Connection, known: _State) -> None:
        self._before = {one.table: one for one in known.digest.tables}
        row = connection.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text").fetchone()
        since = range(known.oldest, int(row[0]) if row else known.oldest)
        self._is_possible = len(since) <= _MOST_TRANSACTIONS
        self._since = [str(xid % _XIDS) for xid in since] if self._is_possible else []
        now = _readable(connection) if self._is_possible else {}
        self._same = {name for name, text in now.items() if known.readable.get(name) == text}

    def digest_table(self, connection: Connection, table: TableRows) -> TableDigest:
        """See `TableDigester`."""
        before = self._before.get(table.name)
        if before is None or table.name not in self._same or not self._has_same_rows(connection, table, before):
            return digest_whole_table(connection, table)
        return before

    def _has_same_rows(self, connection: Connection, table: TableRows, before: TableDigest) -> bool:
        query = sql.SQL("SELECT count(*), count(*) FILTER (WHERE t.xmin = ANY (%s::xid[])) FROM ONLY {}")
        return connection.execute(query.format(table.source), (self._since,)).fetchone() == (before.rows, 0)
