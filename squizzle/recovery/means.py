"""Finding out what there is to recover a database with. Nothing is changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

import psycopg
from psycopg import sql

from squizzle.backups.catalogue import read_catalogue
from squizzle.backups.change_log.reading import coverage
from squizzle.backups.proofs import ProofKind
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.store import BackupStore, safe_name
from squizzle.errors import BackupDamagedError, InvalidInputError, KeyNotUsableError
from squizzle.migrations.history import find_history
from squizzle.migrations.records import Migration
from squizzle.postgres.access import Connection
from squizzle.postgres.translation import translate_error
from squizzle.recovery.prepared_copy import list_copies
from squizzle.recovery.ways import BackupMeans, CopyMeans, Means, ScriptMeans, UndoMeans


def find_means(
    control: Connection,
    connection: Connection,
    store: BackupStore,
    *,
    schema: str,
    migrations: Iterable[Migration],
) -> Means:
    """Everything there is to recover a database with.

    Args:
        control: A session in another database of the same cluster.
        connection: A session in the damaged database.
        store: Where its backups are.
        schema: Where the migration history is.
        migrations: The migrations folder.

    Raises:
        DatabaseError, ToolError: The server or the store cannot be read.
    """
    database = connection.info.dbname
    try:
        return Means(
            scripts=_scripts(connection, schema, migrations),
            undo=_undo(connection),
            copies=tuple(CopyMeans(name=one.name, made_at=one.made_at) for one in list_copies(control, database)),
            backups=find_backups(store, database, system_identifier=system_identifier(control)),
        )
    except psycopg.Error as exc:
        raise translate_error(exc, doing=f"see what there is to recover {database} with") from exc


def system_identifier(control: Connection) -> str:
    """Which cluster this is; empty when the account may not read it."""
    try:
        row = control.execute("SELECT system_identifier::text FROM pg_control_system()").fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return ""
    return str(row[0]) if row else ""


def find_backups(store: BackupStore, database: str, *, system_identifier: str) -> tuple[BackupMeans, ...]:
    """The backups of one database, newest first; those that cannot be used, or are a namesake's, with their problem."""
    return tuple(
        BackupMeans(
            id=entry.id,
            backup=entry.backup,
            restored=entry.notes.last(ProofKind.RESTORE),
            verified=entry.notes.last(ProofKind.FILES),
            problems=(*entry.problems, *_other_cluster(entry.backup, system_identifier)),
        )
        for entry in read_catalogue(store)
        if _is_of(entry.id, entry.backup, database)
    )


def _is_of(backup_id: str, backup: Backup | None, database: str) -> bool:
    return f"-{safe_name(database)}-" in backup_id if backup is None else backup.database == database


def _other_cluster(backup: Backup | None, system_identifier: str) -> tuple[str, ...]:
    if backup is None or not system_identifier or backup.system_identifier in {"", system_identifier}:
        return ()
    return (f"it is of a database of that name in another cluster ({backup.system_identifier})",)


def opened(store: BackupStore, means: BackupMeans) -> BackupMeans:
    """The whole manifest of an encrypted backup: the catalogue shows only what everybody may read of it.

    Of one that cannot be opened, the problem is added.
    """
    if means.backup is None or not means.backup.is_sealed:
        return means
    try:
        return replace(means, backup=store.read(means.backup.id))
    except (KeyNotUsableError, BackupDamagedError) as exc:
        return replace(means, problems=(*means.problems, exc.message))


def newest_comparable(store: BackupStore, backups: Iterable[BackupMeans], *, before: datetime | None = None) -> Backup:
    """The newest whole backup with fingerprints, to see what is damaged.

    Args:
        store: Where they are: those that are encrypted are opened, one after the other.
        backups: Newest first.
        before: Only those from before this moment; None for any.

    Raises:
        InvalidInputError: There is none.
    """
    for one in (opened(store, each) for each in backups):
        backup = one.backup
        if backup is None or backup.digest is None or backup.kind is not BackupKind.FULL or one.problems:
            continue
        if before is None or backup.started_at < before:
            return backup
    when = f" from before {before}" if before else ""
    raise InvalidInputError(
        f"the store holds no whole backup of this database{when} to compare it with",
        hint="`squizzle backups` lists what it holds; --store names another one",
    )


_TIMES = """
    SELECT version, (array_agg(duration_ms ORDER BY id DESC) FILTER (WHERE direction = 'rollback'))[1],
           (array_agg(duration_ms ORDER BY id DESC) FILTER (WHERE direction = 'apply'))[1],
           max(applied_at) FILTER (WHERE direction = 'rollback')
    FROM {} WHERE success GROUP BY version
"""


def _scripts(connection: Connection, schema: str, migrations: Iterable[Migration]) -> tuple[ScriptMeans, ...]:
    history = find_history(connection, schema)
    if history is None:
        return ()
    try:
        rows = connection.execute(sql.SQL(_TIMES).format(history)).fetchall()
    except psycopg.Error as exc:
        raise translate_error(exc, doing="read how long the versions took") from exc
    with_down = {one.version for one in migrations if one.down_sql is not None}
    return tuple(
        ScriptMeans(
            version=version,
            has_down=version in with_down,
            took=_milliseconds(back if back is not None else forth),
            rolled_back_at=rolled_back_at,
        )
        for version, back, forth, rolled_back_at in rows
    )


def _milliseconds(value: int | None) -> timedelta | None:
    return None if value is None else timedelta(milliseconds=value)


def _undo(connection: Connection) -> UndoMeans | None:
    """The tables whose every change is in the log; a table with a gap is not among them."""
    whole = [one for one in coverage(connection) if one.until is None and not one.gaps]
    if not whole:
        return None
    places = [(one.schema, one.table) for one in whole]
    quoted = connection.execute(
        "SELECT format('%%I.%%I', one.space, one.name) FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY"
        " AS one(space, name, place) ORDER BY place",
        ([schema for schema, _ in places], [name for _, name in places]),
    )
    names = [name for (name,) in quoted]
    return UndoMeans(since=max(one.since for one in whole), tables=dict(zip(names, places, strict=True)))
