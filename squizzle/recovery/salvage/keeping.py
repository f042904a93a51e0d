"""Comparing a damaged database with the recovered one and keeping what only the damaged one has."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import IO, Any

import psycopg

from squizzle.errors import DatabaseState, InvalidInputError
from squizzle.later_keys import known_keys
from squizzle.postgres.access import Connection, ServerAccess
from squizzle.postgres.own_scripts import OwnTables
from squizzle.postgres.own_tables import ensure_tables, find_tables
from squizzle.postgres.translation import translate_error
from squizzle.proof.digests import read_snapshot
from squizzle.recovery.fence import session_through_fence
from squizzle.recovery.salvage.differences import Difference, compare_table, read_layouts, read_partition_roots
from squizzle.recovery.salvage.records import Salvage, TableSalvage

# So many rows of one table a person or a script can still look through; all are counted.
DEFAULT_LIMIT = 100_000
_TABLES = OwnTables(package="squizzle.recovery.salvage", script="salvage_tables")
_IN_MEMORY_BYTES = 16 * 1024 * 1024


def take_salvage(
    access: ServerAccess,
    damaged: str,
    recovered: str,
    *,
    salvage_id: str,
    backup_id: str,
    now: datetime,
    limit: int = DEFAULT_LIMIT,
) -> Salvage:
    """Compare two databases row by row, and keep in the recovered one what only the damaged one has.

    Both may be fenced. The damaged one is only read. In the recovered one the schema `squizzle_salvage` gets the rows
    in one transaction at the end: a salvage that is killed leaves nothing.

    Args:
        access: The server that has both.
        damaged: Name of the damaged database.
        recovered: Name of the recovered one.
        salvage_id: A new id for the salvage.
        backup_id: What the recovered one was restored from.
        now: When.
        limit: So many rows of each table are kept at most; all are counted.

    Returns:
        What differs. Nothing is written when nothing does.

    Raises:
        ConnectionFailedError, DatabaseError: A database cannot be read, or the recovered one not be written; it is
            unchanged.
    """
    with (
        session_through_fence(access, damaged, purpose="salvage") as left,
        session_through_fence(access, recovered, purpose="salvage") as right,
        tempfile.SpooledTemporaryFile(mode="w+", max_size=_IN_MEMORY_BYTES, encoding="utf-8") as spool,
    ):
        keeper = _Keeper(spool=spool, limit=limit)
        with read_snapshot(left), read_snapshot(right):
            tables = tuple(_compared(left, right, keeper.keep))
        salvage = Salvage(id=salvage_id, taken_at=now, damaged=damaged, backup_id=backup_id, tables=tables)
        if tables:
            _write(right, salvage, spool)
    return salvage


def compare_rows(
    access: ServerAccess,
    damaged: str,
    recovered: str,
    *,
    only: Collection[str],
    until: Callable[[TableSalvage], bool],
) -> tuple[TableSalvage, ...]:
    """Compare two databases row by row, as `take_salvage` does, and keep nothing. Both are only read.

    Args:
        access: Server and account.
        damaged: The one database.
        recovered: The other.
        only: These tables, a partition for the table that it is one of; all for none, and where one is in neither.
        until: Whether a table that differs says enough, so that those behind it are not compared.

    Returns:
        The tables that differ, or could not be compared whole; nothing behind one that says enough.

    Raises:
        ConnectionFailedError, DatabaseError: A database cannot be read.
    """
    with (
        session_through_fence(access, damaged, purpose="compare rows") as left,
        session_through_fence(access, recovered, purpose="compare rows") as right,
        read_snapshot(left),
        read_snapshot(right),
    ):
        found: list[TableSalvage] = []
        for one in _compared(left, right, lambda _difference: False, only=only):
            found.append(one)
            if until(one):
                break
        return tuple(found)


@dataclass(kw_only=True)
class _Keeper:
    """Writes rows to a file of ours until a table has had its share."""

    spool: IO[str]
    limit: int
    written: Counter[str] = field(default_factory=Counter)

    def keep(self, difference: Difference) -> bool:
        if self.written[difference.table] >= self.limit:
            return False
        self.written[difference.table] += 1
        found = (difference.table, difference.kind.value, difference.key, difference.damaged, difference.recovered)
        self.spool.write(json.dumps(found) + "\n")
        return True


def _compared(
    left: Connection, right: Connection, keep: Callable[[Difference], bool], *, only: Collection[str] = ()
) -> Iterator[TableSalvage]:
    ours, theirs = read_layouts(left), read_layouts(right)
    there = ours.keys() | theirs.keys()
    roots = read_partition_roots(left) | read_partition_roots(right)
    wanted = {roots.get(table, table) for table in only}
    # Of a name that nobody knows nothing would be compared, and nothing found: then all are.
    for table in sorted(wanted if wanted and wanted <= there else there):
        found = compare_table(left, right, (ours.get(table), theirs.get(table)), keep=keep)
        if not found.is_equal:
            yield found


def _write(connection: Connection, salvage: Salvage, spool: IO[str]) -> None:
    spool.seek(0)
    summary = json.dumps([asdict(table) for table in salvage.tables])
    copy = "COPY squizzle_salvage.row (salvage, number, table_name, kind, key, damaged, recovered) FROM STDIN"
    try:
        with connection.transaction():
            connection.execute("SET LOCAL lock_timeout = '5s'")
            ensure_tables(connection, _TABLES)
            connection.execute(
                "INSERT INTO squizzle_salvage.salvage VALUES (%s, %s, %s, %s, %s)",
                (salvage.id, salvage.taken_at, salvage.damaged, salvage.backup_id, summary),
            )
            with connection.cursor() as cursor, cursor.copy(copy) as rows:
                for number, line in enumerate(spool, start=1):
                    rows.write_row((salvage.id, number, *json.loads(line)))
    except psycopg.Error as exc:
        raise translate_error(
            exc,
            doing=f"keep the salvaged rows in {connection.info.dbname}",
            needs=f"CREATE on the database {connection.info.dbname}",
            database_state=DatabaseState.UNTOUCHED,
        ) from exc


def read_salvages(connection: Connection) -> tuple[Salvage, ...]:
    """Every salvage whose rows are kept in this database, newest first. Nothing is changed."""
    try:
        if find_tables(connection, _TABLES) is None:
            return ()
        rows = connection.execute(
            "SELECT id, taken_at, damaged, backup_id, tables FROM squizzle_salvage.salvage ORDER BY taken_at DESC, id"
        ).fetchall()
    except psycopg.Error as exc:
        raise translate_error(exc, doing="read the salvages") from exc
    return tuple(_salvage(*row) for row in rows)


def _salvage(
    salvage_id: str, taken_at: datetime, damaged: str, backup_id: str, tables: list[dict[str, Any]]
) -> Salvage:
    return Salvage(
        id=salvage_id,
        taken_at=taken_at,
        damaged=damaged,
        backup_id=backup_id,
        tables=tuple(TableSalvage(**known_keys(table, TableSalvage)) for table in tables),
    )


def find_salvage(connection: Connection, salvage_id: str | None) -> Salvage:
    """One salvage by its id; the newest without one.

    Raises:
        InvalidInputError: There is none of that id, or none at all.
    """
    found = read_salvages(connection)
    for salvage in found:
        if salvage_id in {None, salvage.id}:
            return salvage
    known = ", ".join(one.id for one in found) or "none"
    raise InvalidInputError(
        f"{connection.info.dbname} keeps no salvage {salvage_id or ''}".rstrip(),
        hint=f"kept are: {known}; `squizzle salvage compare --from DATABASE` makes one",
    )
