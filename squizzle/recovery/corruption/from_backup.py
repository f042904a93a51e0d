"""Which of the rows that were not saved a backup has, as they were then."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
from psycopg import sql

from squizzle.backups.records import Backup
from squizzle.backups.store import BackupStore
from squizzle.errors import SquizzleError
from squizzle.postgres.access import CONTROL_DATABASE, Connection, connect
from squizzle.postgres.database_properties import read_properties
from squizzle.postgres.translation import server_words
from squizzle.recovery.corruption.copying import DamagedCopy
from squizzle.recovery.corruption.reading import key_text
from squizzle.recovery.corruption.records import SavedTable
from squizzle.recovery.means import find_backups, newest_comparable, system_identifier
from squizzle.recovery.restore import Manner, restore_beside

_RESTORED = "squizzle_from_backup"
_CHUNK_BYTES = 1 << 20


def look_in_backup(
    copy: DamagedCopy,
    database: str,
    saved: Sequence[SavedTable],
    folder: Path,
    *,
    store: BackupStore,
    backup_id: str,
) -> tuple[tuple[SavedTable, ...], str, tuple[str, ...]]:
    """Restore a backup in the copy, and write down the rows of damaged tables that it has and that were not saved.

    Args:
        copy: A running copy, which has the roles that the backup speaks of, and goes away.
        database: The damaged one.
        saved: What was saved.
        folder: The evidence folder.
        store: Where backups lie.
        backup_id: Which; empty for the newest whole one.

    Returns:
        The tables, with what the backup has of them; the backup; what could not be told.
    """
    try:
        with _restored(copy, database, store, backup_id) as (backup, connection):
            found, doubts = [], []
            for one in saved:
                try:
                    found.append(_compare(connection, one, folder))
                except psycopg.Error as exc:
                    found.append(one)
                    doubts.append(f"what backup {backup.id} has of {one.table}: {server_words(exc)}")
            return tuple(found), backup.id, tuple(doubts)
    except SquizzleError as exc:
        return tuple(saved), backup_id, (f"what a backup has of the lost rows: {exc.message}",)


@contextmanager
def _restored(
    copy: DamagedCopy, database: str, store: BackupStore, backup_id: str
) -> Iterator[tuple[Backup, Connection]]:
    access = copy.plain_access()
    with connect(access, CONTROL_DATABASE, purpose="examine") as control:
        backup = (
            store.read(backup_id)
            if backup_id
            else newest_comparable(store, find_backups(store, database, system_identifier=system_identifier(control)))
        )
        with store.fetch(backup) as files:
            restore_beside(
                access,
                control,
                backup,
                files,
                programs=copy.programs,
                into=_RESTORED,
                like=read_properties(control, database),
                manner=Manner(elsewhere=True),
            )
    with copy.connect(_RESTORED) as connection:
        yield backup, connection


def _compare(connection: Connection, one: SavedTable, folder: Path) -> SavedTable:
    if not one.key or one.lost == ():
        return one
    table, row = sql.Identifier(one.schema, one.name), sql.SQL("ROW({})::text").format(_names(one.key))
    with connection.transaction(force_rollback=True):
        # As text, which is what the file holds: the columns may have had other types at the time of the backup.
        connection.execute(
            sql.SQL("CREATE TEMPORARY TABLE squizzle_saved ({}) ON COMMIT DROP").format(
                sql.SQL(", ").join(sql.SQL("{} text").format(sql.Identifier(name)) for name in one.columns)
            )
        )
        into = sql.SQL("COPY squizzle_saved ({}) FROM STDIN").format(_names(one.columns))
        with (folder / one.rows_file).open("rb") as rows, connection.cursor() as cursor, cursor.copy(into) as copy:
            while chunk := rows.read(_CHUNK_BYTES):
                copy.write(chunk)
        connection.execute(
            sql.SQL(
                "CREATE TEMPORARY TABLE squizzle_missing ON COMMIT DROP AS"
                " SELECT * FROM ONLY {} t WHERE {} NOT IN (SELECT {} FROM squizzle_saved) AND ({} OR {} = ANY({}))"
            ).format(table, row, row, one.lost is None, key_text(one.key), list(one.lost or ()))
        )
        file = str(Path(one.rows_file).with_suffix(".from-backup.csv"))
        with (
            (folder / file).open("wb") as output,
            connection.cursor() as cursor,
            cursor.copy("COPY squizzle_missing TO STDOUT WITH (FORMAT csv, HEADER)") as copy,
        ):
            for data in copy:
                output.write(bytes(data))
        count = connection.execute("SELECT count(*) FROM squizzle_missing").fetchone()
    return replace(one, in_backup=int(count[0]) if count else 0, backup_file=file)


def _names(columns: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))
