"""Reading changes back, the newest transaction first: the order in which they can be taken back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow, class_row

from squizzle.backups.change_log.reading import LOG_TABLES, NEEDS, coverage
from squizzle.backups.change_log.records import LoggedTable
from squizzle.errors import CouldNotVerifyError, InvalidInputError
from squizzle.postgres.access import Connection
from squizzle.postgres.own_tables import find_tables
from squizzle.postgres.sql_files import load_sql
from squizzle.postgres.translation import translate_error

# So many changes are fetched at a time: memory stays flat however large the log is.
_AT_A_TIME = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangeLogMark:
    """A point that changes can be asked for since; a backup records it.

    Attributes:
        snapshot: `pg_current_snapshot()`: which transactions were over. It, not the time, says what came after.
        xid: The first transaction id that was not yet given out.
        lsn: Write-ahead log position (insert).
        at: The server's clock.
        system_identifier: Of the cluster; the snapshot means nothing in another one.
        timeline: Of the write-ahead log; after a recovery to an earlier point ids are given out again.
        database_oid: Of the database; in a restored copy numbers of changes are given out again.
        position: The last number in the log. Transactions with later ids made later changes; a log that was restored
            from elsewhere holds ids that only seem to be later.
    """

    snapshot: str
    xid: int
    lsn: str
    at: datetime
    system_identifier: str
    timeline: int
    database_oid: int
    position: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One change of one row.

    Attributes:
        id: Its number in the log; of changes to one row the larger is the later one.
        xid: Its transaction.
        logged_at: The server's clock.
        operation: INSERT, UPDATE, DELETE or TRUNCATE (of a table with this row in it).
        schema: Where the row is or was: of a partitioned table, the partition's.
        table: As above.
        user: Who was logged in.
        role: Whose rights were used (SET ROLE).
        application: Its application_name.
        key: The primary key's columns; of an UPDATE that changed it, the old ones.
        old: The row before as JSON text; None for INSERT.
        new: The row after as JSON text; None for DELETE and TRUNCATE.
        old_exact: The row before as PostgreSQL's text, where JSON does not keep all; fits the columns of that time.
        new_exact: The row after, likewise.
    """

    id: int
    xid: int
    logged_at: datetime
    operation: str
    schema: str
    table: str
    user: str
    role: str
    application: str
    key: Mapping[str, Any]
    old: str | None
    new: str | None
    old_exact: str | None
    new_exact: str | None


def mark(connection: Connection) -> ChangeLogMark:
    """Where the database is now. Nothing is changed.

    Args:
        connection: A session outside a transaction, which would see an older state; of the owner of the log.

    Raises:
        DatabaseError: The session was lost, or this is a standby.
    """
    try:
        # First, so that whoever made one of the changes up to here began before the snapshot.
        row = connection.execute(
            "SELECT coalesce(pg_sequence_last_value(to_regclass('squizzle_log.change_id_seq')), 0)"
        ).fetchone()
        with connection.cursor(row_factory=class_row(ChangeLogMark)) as cursor:
            found = cursor.execute(
                "SELECT s::text AS snapshot, pg_snapshot_xmax(s)::text::bigint AS xid,"
                " pg_current_wal_insert_lsn()::text AS lsn, clock_timestamp() AS at,"
                " (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,"
                " ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int AS timeline,"
                " (SELECT oid::bigint FROM pg_database WHERE datname = current_database()) AS database_oid,"
                " %s::bigint AS position FROM pg_current_snapshot() s",
                (row[0] if row else 0,),
            ).fetchone()
    except psycopg.Error as exc:
        raise translate_error(exc, doing="mark where the change log is", needs=NEEDS) from exc
    if found is None:
        raise AssertionError("a SELECT of one row returned none")
    return found


def changes_since(connection: Connection, table: tuple[str, str], since: ChangeLogMark | datetime) -> Iterator[Change]:
    """Every change of a table since a mark, in the order in which they can be taken back. Nothing is changed.

    Newest transaction first, and newest change first within each. Transactions are ordered by their last change in the
    whole log: where two changed the same row, the one that committed later made a later change (row locks see to it),
    which neither transaction ids nor the order of all changes would tell.

    Args:
        connection: A session in the database, of the owner of the log.
        table: (schema, name) of a logged table, as when logging began.
        since: A mark: what was not over then. A time: whole transactions that changed anything at or after it.

    Raises:
        InvalidInputError: That table was never logged.
        CouldNotVerifyError: The log does not reach back that far, or the mark is another cluster's.
        DatabaseError: No right to read the log.
    """
    entries = [one for one in coverage(connection) if (one.schema, one.table) == table]
    if not entries:
        name = ".".join(table)
        raise InvalidInputError(f"{name} is not logged", hint=f"squizzle changelog enable --table {name}")
    refuse_gap(connection, entries, since)
    parameters = {
        "logged": [one.id for one in entries],
        "snapshot": since.snapshot if isinstance(since, ChangeLogMark) else None,
        "position": since.position if isinstance(since, ChangeLogMark) else None,
        "at": None if isinstance(since, ChangeLogMark) else since,
    }
    return _read(connection, parameters)


def _read(connection: Connection, parameters: Mapping[str, object]) -> Iterator[Change]:
    with connection.transaction(), connection.cursor(name="squizzle_changes") as cursor:
        cursor.itersize = _AT_A_TIME
        try:
            for row in cursor.execute(load_sql("squizzle.backups.change_log", "changes"), parameters):
                yield _change(*row)
        except psycopg.Error as exc:
            raise translate_error(exc, doing="read the change log", needs=NEEDS) from exc


def _change(*row: Any) -> Change:
    number, xid, at, operation, schema, table, user, role, application, keys, *images = row
    image = json.loads(images[0] if images[0] is not None else images[1])
    return Change(
        id=number,
        xid=xid,
        logged_at=at,
        operation=operation,
        schema=schema,
        table=table,
        user=user,
        role=role,
        application=application,
        key={name: image.get(name) for name in keys},
        old=images[0],
        new=images[1],
        old_exact=images[2],
        new_exact=images[3],
    )


def refuse_gap(connection: Connection, entries: list[LoggedTable], since: ChangeLogMark | datetime) -> None:
    """Refuse a question about changes of a table since a point that the log does not reach back to.

    Args:
        connection: A session in the database.
        entries: The table's, of those in `coverage` that count.
        since: A mark or a time.

    Raises:
        CouldNotVerifyError: It was not logged then, changes since were pruned, or the mark is another cluster's.
    """
    at = since.at if isinstance(since, ChangeLogMark) else since
    name = entries[0].name
    logging = [one for one in entries if one.since <= at and (one.until is None or one.until > at)]
    if not logging:
        first = max(one.since for one in entries)
        raise CouldNotVerifyError(
            f"{name} was not logged at {at:%Y-%m-%d %H:%M:%S %Z}; the log has it since {first:%Y-%m-%d %H:%M:%S %Z}",
            hint="ask for a later time, or restore a backup beside the database",
        )
    _refuse_pruned(connection, entries, since)
    if isinstance(since, ChangeLogMark):
        now = mark(connection)
        here = (now.system_identifier, now.timeline, now.database_oid)
        if here != (since.system_identifier, since.timeline, since.database_oid) or now.xid < since.xid:
            raise CouldNotVerifyError(
                "the mark was made in another cluster or database, or before a recovery: its transaction ids mean"
                " nothing here",
                hint=f"ask by time: --since '{since.at.isoformat()}'",
            )


def _refuse_pruned(connection: Connection, entries: list[LoggedTable], since: ChangeLogMark | datetime) -> None:
    """By a mark, no pruned transaction may have been open then; by time, none can have changed anything since."""
    name, logged = entries[0].name, [one.id for one in entries]
    try:
        row = _pruned(connection, logged, since)
    except psycopg.Error as exc:
        raise translate_error(exc, doing="see what was pruned of the change log", needs=NEEDS) from exc
    if row is not None and row[0] is not None:
        raise CouldNotVerifyError(
            f"changes of {name} before {row[0]:%Y-%m-%d %H:%M:%S %Z} were pruned",
            hint="ask for a later time, or restore a backup beside the database",
        )


def _pruned(connection: Connection, logged: list[int], since: ChangeLogMark | datetime) -> TupleRow | None:
    found = find_tables(connection, LOG_TABLES)
    if found is None or not found.has("squizzle_log.pruned"):
        return None  # a log of the first version, of which nothing was ever pruned
    query = sql.SQL("SELECT max(before) FROM {} WHERE (logged IS NULL OR logged && %s::integer[]) AND ").format(
        found.source("squizzle_log.pruned", "p")
    )
    if isinstance(since, ChangeLogMark):
        query += sql.SQL("xid >= pg_snapshot_xmin(%s::pg_snapshot)")
        return connection.execute(query, (logged, since.snapshot)).fetchone()
    return connection.execute(query + sql.SQL("before > %s"), (logged, since)).fetchone()
