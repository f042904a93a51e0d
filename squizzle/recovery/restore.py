"""Restoring a backup beside the damaged database, and proving that it is what was saved."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from queue import Empty, SimpleQueue

import psycopg
from psycopg import sql

from squizzle.backups.dump import DUMP_FOLDER, VIEWS_DETAIL
from squizzle.backups.files import check_files
from squizzle.backups.records import SIZE_DETAIL, Backup, BackupKind
from squizzle.backups.surroundings import GLOBALS_FILE, commands_for, saved_surroundings
from squizzle.errors import InvalidInputError, ProgramNotUsableError, RecoveryError, ToolError
from squizzle.headway import stretch
from squizzle.postgres.access import Connection, ServerAccess, connect, conninfo_database
from squizzle.postgres.client_run import run_client
from squizzle.postgres.database_properties import DatabaseProperties
from squizzle.postgres.programs import ClientPrograms
from squizzle.postgres.translation import translate_error
from squizzle.proof.comparison import compare_digests
from squizzle.proof.digests import digest_database, digest_schema
from squizzle.proof.records import Comparison, DatabaseDigest
from squizzle.recovery.growing import WITH_INDEXES, growing_database
from squizzle.recovery.new_database import new_database
from squizzle.recovery.restored_owners import refuse_owners_of_others

PATIENCE = timedelta(hours=24)
"""To restore some terabytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Manner:
    """How a backup is restored.

    Attributes:
        elsewhere: The server is another one, which does not have the tablespaces: everything goes to the default one.
        scratch: Only to try things on: nobody but the account gets in, at no instant, and it subscribes to nothing.
        timeout: Each run of pg_restore is stopped after that.
    """

    elsewhere: bool = False
    scratch: bool = False
    timeout: timedelta = PATIENCE

    def options(self, jobs: int) -> list[str]:
        """For pg_restore."""
        tablespaces = ["--no-tablespaces"] if self.elsewhere else []
        # A database that subscribes to something cannot be dropped.
        subscriptions = ["--no-subscriptions"] if self.scratch else []
        return [*tablespaces, *subscriptions, f"--jobs={jobs}"]


def check_backup(backup: Backup, folder: Path) -> None:
    """Compare every file of a backup with its manifest; see `check_files`. Nothing is changed."""
    check_files(backup, folder)


def restore_beside(
    access: ServerAccess,
    control: Connection,
    backup: Backup,
    folder: Path,
    *,
    programs: ClientPrograms,
    into: str,
    like: DatabaseProperties,
    manner: Manner = Manner(),
) -> None:
    """Restore a checked backup into a new database; the damaged one is not touched.

    A new database of that name left by a run that died is dropped first: it was never anybody's.

    Args:
        access: Server and account.
        control: A session in another database of the same cluster.
        backup: What to restore; its files are compared with the manifest first.
        folder: Where it lies.
        programs: pg_restore of the server's major version or newer.
        into: The new database's name.
        like: Encoding, locale and tablespace to use.
        manner: How.

    Raises:
        InvalidInputError: The backup holds no whole database; no database was made.
        RecoveryError: Roles that the backup speaks of are missing, or the account may not hand objects to their owners;
            no database was made.
        BackupDamagedError: A file is not what the manifest says; no database was made.
        ProgramNotUsableError: pg_restore is of a version that this server does not understand; no database was made.
        RecoveryError: A database of that name exists and is no leftover of ours.
        ToolError: pg_restore failed; the half-restored new database was dropped.
    """
    if not backup.kind.is_dump or backup.kind is BackupKind.DATA:
        raise InvalidInputError(
            f"backup {backup.id} ({backup.kind}) holds no whole database",
            hint="name a full backup, or one of the schema; rows are restored together with their definitions:"
            " squizzle restore ID --definitions SCHEMA_ID --into NAME"
            if backup.kind is BackupKind.DATA
            else "name a full backup, or one of the schema",
        )
    _refuse_unfit(access, control, backup, folder, programs)

    def restore(jobs: int) -> None:
        with new_database(access, control, backup, into=into, like=like, private=manner.scratch):
            with growing_database(control, into, expected_bytes=_expected_bytes(backup)) as look:
                _run_restore(
                    access,
                    programs,
                    backup,
                    folder,
                    into=into,
                    options=manner.options(jobs),
                    timeout=manner.timeout,
                    on_wait=look,
                )
            _analyze(access, into, jobs)

    _with_one_job_if_need_be(restore)


def restore_rows_beside(
    access: ServerAccess,
    control: Connection,
    definitions: tuple[Backup, Path],
    rows: tuple[Backup, Path],
    *,
    programs: ClientPrograms,
    into: str,
    like: DatabaseProperties,
    manner: Manner = Manner(),
) -> None:
    """Restore the definitions of one backup and the rows of another into a new database; see `restore_beside`.

    Tables first, then their rows, then what watches over rows (indexes, foreign keys, triggers): so no trigger runs for
    a row that is restored, and the order of tables does not matter (manual, "pg_dump", `--data-only`).

    Args:
        access: Server and account.
        control: A session in another database of the same cluster.
        definitions: A schema backup, and where it lies.
        rows: A data backup of a database with the same definitions, and where it lies.
        programs: pg_restore of the server's major version or newer.
        into: The new database's name.
        like: Encoding, locale and tablespace to use.
        manner: How.

    Raises:
        InvalidInputError: They are no schema and no data backup, or the definitions are not those that the rows had; no
            database was made.
        RecoveryError, BackupDamagedError, ProgramNotUsableError, ToolError: As `restore_beside`.
    """
    schema, data = definitions[0], rows[0]
    refuse_unlike_definitions(schema, data)
    for backup, folder in (definitions, rows):
        _refuse_unfit(access, control, backup, folder, programs)
    # Of rows, `pre-data` makes the large objects (PostgreSQL 15 and 16).
    steps = ((definitions, ("pre-data",)), (rows, ("pre-data", "data")), (definitions, ("post-data",)))

    def restore(jobs: int) -> None:
        with new_database(access, control, schema, into=into, like=like, private=manner.scratch):
            with growing_database(control, into, expected_bytes=_expected_bytes(data)) as look:
                for (backup, folder), sections in steps:
                    parts = [f"--section={section}" for section in sections]
                    options = [*parts, *manner.options(jobs)]
                    _run_restore(
                        access,
                        programs,
                        backup,
                        folder,
                        into=into,
                        options=options,
                        timeout=manner.timeout,
                        on_wait=look,
                    )
            _refresh(access, data, into)
            _analyze(access, into, jobs)

    _with_one_job_if_need_be(restore)


def refuse_unlike_definitions(schema: Backup, data: Backup) -> None:
    """Rows fit only into the definitions that they were saved from. Pure.

    Raises:
        InvalidInputError: They do not fit, or are not backups of these kinds.
    """
    if (schema.kind, data.kind) != (BackupKind.SCHEMA, BackupKind.DATA):
        raise InvalidInputError(
            f"the definitions of backup {schema.id} ({schema.kind}) and the rows of {data.id} ({data.kind})"
            " cannot be put together",
            hint="name a data backup, and behind --definitions a schema backup; a full one needs no other",
        )
    if schema.fingerprint.schema.logical != data.fingerprint.schema.logical:
        raise InvalidInputError(
            f"the rows of backup {data.id} (version {data.migration_version or 'none'}) had other definitions than"
            f" backup {schema.id} holds (version {schema.migration_version or 'none'})",
            hint="name the schema backup that was taken beside it; `squizzle backups` lists them with their versions",
        )


def _refuse_unfit(
    access: ServerAccess, control: Connection, backup: Backup, folder: Path, programs: ClientPrograms
) -> None:
    """Everything that can be asked before a database is made."""
    check_files(backup, folder)
    _refuse_newer_client(control, programs)
    refuse_missing_roles(control, backup, folder)
    refuse_owners_of_others(access, control, backup, folder, programs)


_DEADLOCK = "deadlock detected"


def _with_one_job_if_need_be(restore: Callable[[int], None]) -> None:
    """Jobs of pg_restore lock indexes of partitions in different orders, and may meet; one alone cannot."""
    try:
        restore(max(2, os.cpu_count() or 2))
    except ToolError as exc:
        if _DEADLOCK not in exc.message:
            raise
        restore(1)


def _run_restore(
    access: ServerAccess,
    programs: ClientPrograms,
    backup: Backup,
    folder: Path,
    *,
    into: str,
    options: Sequence[str],
    timeout: timedelta,
    on_wait: Callable[[], None],
) -> None:
    run_client(
        programs.path("pg_restore"),
        [
            *options,
            "--exit-on-error",  # by default pg_restore goes on and only counts errors
            "--no-password",
            f"--dbname={conninfo_database(into)}",
            str(folder / DUMP_FOLDER),
        ],
        access=access,
        database=into,
        doing=f"restore backup {backup.id} into {into}",
        timeout=timeout,
        on_wait=on_wait,
    )


def _expected_bytes(backup: Backup) -> int:
    """About how large the database becomes; 0 when that cannot be told."""
    return round(int(backup.details.get(SIZE_DETAIL, "0")) * WITH_INDEXES)


def _refresh(access: ServerAccess, data: Backup, into: str) -> None:
    """Fill the materialized views that were filled; one that reads another has to wait for that one."""
    waiting = [sql.SQL(name) for name in json.loads(data.details.get(VIEWS_DETAIL, "[]"))]
    if not waiting:
        return
    with connect(access, into, purpose="restore") as connection:
        while waiting:
            unfilled = [name for name in waiting if not _is_refreshed(connection, name)]
            if unfilled == waiting:
                names = ", ".join(name.as_string() for name in waiting)
                raise RecoveryError(
                    f"the materialized views {names} of {into} wait for each other", hint="use a full backup"
                )
            waiting = unfilled


def _is_refreshed(connection: Connection, name: sql.SQL) -> bool:
    try:
        connection.execute(sql.SQL("REFRESH MATERIALIZED VIEW {}").format(name))
    except psycopg.errors.ObjectNotInPrerequisiteState:
        return False
    except psycopg.Error as exc:
        raise translate_error(exc, doing=f"refresh {name.as_string()}") from exc
    return True


# Whatever ANALYZE without a name goes through; a partitioned table takes its partitions along. Big ones first, so that
# no session is left alone with one at the end.
_TO_ANALYZE = """
    SELECT n.nspname, c.relname
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
    ORDER BY coalesce((SELECT sum(pg_relation_size(t.relid)) FROM pg_partition_tree(c.oid) t), 0)
             + coalesce(pg_relation_size(c.oid), 0) DESC
"""


def _analyze(access: ServerAccess, into: str, jobs: int) -> None:
    """Statistics for the planner, by as many sessions as restored: of small tables they take as long as their rows."""
    with stretch(f"analyzing {into}"), ExitStack() as stack:
        sessions = [stack.enter_context(connect(access, into, purpose="analyze")) for _ in range(jobs)]
        waiting: SimpleQueue[sql.Identifier] = SimpleQueue()
        for schema, table in sessions[0].execute(_TO_ANALYZE).fetchall():
            waiting.put(sql.Identifier(schema, table))

        def work(session: Connection) -> None:
            with suppress(Empty):
                while True:
                    _execute(session, sql.SQL("ANALYZE {}").format(waiting.get_nowait()), doing=f"analyze {into}")

        with ThreadPoolExecutor(jobs, thread_name_prefix="squizzle analyze") as pool:
            for _ in pool.map(work, sessions):
                """What it raised is raised here."""


# From this version on pg_restore sets transaction_timeout first, which older servers refuse (measured: 18 on 15).
_SETS_TRANSACTION_TIMEOUT = 17


def _refuse_newer_client(control: Connection, programs: ClientPrograms) -> None:
    server = control.info.server_version // 10000
    if server < _SETS_TRANSACTION_TIMEOUT <= programs.major:
        raise ProgramNotUsableError(
            f"pg_restore {programs.version} in {programs.folder} cannot restore into PostgreSQL {server}:"
            " it sets transaction_timeout, which that server does not know",
            hint=f"install the client programs of PostgreSQL {server} and name their folder ([postgres] programs)",
        )


def refuse_missing_roles(control: Connection, backup: Backup, folder: Path) -> None:
    """Look for the roles that a backup speaks of before anything is restored: in the middle it would be too late.

    Raises:
        RecoveryError: Names the missing ones, with the commands that make them. Nothing was changed.
    """
    surroundings = saved_surroundings(folder)
    if surroundings is None:
        return
    there = {row[0] for row in control.execute("SELECT rolname FROM pg_roles")}
    missing = tuple(role for role in surroundings.roles if role not in there)
    if not missing:
        return
    saved = folder / GLOBALS_FILE
    commands = commands_for(missing, saved.read_text(encoding="utf-8")) if saved.exists() else ()
    where = f"their passwords, memberships and settings are in {saved}" if commands else "make them as they were"
    raise RecoveryError(
        f"backup {backup.id} speaks of roles that this server does not have: {', '.join(missing)};"
        " nothing was restored",
        hint=f"{' '.join(commands)} ({where})" if commands else where,
    )


def verify_copy(connection: Connection, backup: Backup) -> Comparison:
    """Compare schema, rows and sequences with the manifest's fingerprints. Nothing is changed.

    Args:
        connection: A session in the database to compare.
        backup: What it should be; of a schema dump only the schema is compared.

    Returns:
        Every difference; none when the comparison `is_equal`.
    """
    return compare_digests(backup.fingerprint, digest_copy(connection, backup))


def digest_copy(connection: Connection, backup: Backup) -> DatabaseDigest:
    """The fingerprints of a restored copy, to be compared with those of its backup. Nothing is changed."""
    if backup.kind is BackupKind.SCHEMA:
        return DatabaseDigest(schema=digest_schema(connection), tables=(), sequences={})
    return digest_database(connection, bookkeeping=True)


def _execute(connection: Connection, command: sql.SQL | sql.Composed, *, doing: str) -> None:
    try:
        connection.execute(command)
    except psycopg.Error as exc:
        raise translate_error(exc, doing=doing) from exc
