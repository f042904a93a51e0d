"""A backup restored to a scratch server for a while: to be proven, or to try a migration on.

It holds what the source holds, production's rows mostly. So nobody but the account gets in, nothing acts on it from
outside, and it is dropped afterwards; after a kill, by the next run.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from time import monotonic

import psycopg
from psycopg import sql

from squizzle.backups.records import Backup
from squizzle.backups.store import BackupStore
from squizzle.backups.surroundings import saved_surroundings
from squizzle.errors import CouldNotVerifyError
from squizzle.postgres.access import Connection, ServerAccess
from squizzle.postgres.database_properties import DEFAULT_TABLESPACE, DatabaseProperties, read_properties
from squizzle.postgres.programs import find_programs
from squizzle.postgres.scratch_server import ScratchServer, named_server, scratch_server
from squizzle.postgres.translation import translate_error
from squizzle.recovery.cluster_copy import running_copy
from squizzle.recovery.fence import control_session
from squizzle.recovery.restore import PATIENCE, Manner, restore_beside, restore_rows_beside
from squizzle.recovery.scratch import drill_names, living_run, remove_run, sweep_dead_runs

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class ScratchPlace:
    """Where backups are restored to for a test.

    Attributes:
        server: A server that the user named; None starts one of our own, of the backup's major version.
        programs: Folder of client programs that the user named.
    """

    server: ServerAccess | None = None
    programs: Path | None = None

    @contextmanager
    def open(self, backup: Backup) -> Iterator[ScratchServer]:
        """The server, for the length of the block.

        Raises:
            CouldNotVerifyError: There is no server of this version on this machine, or the named one is older.
            ConnectionFailedError: The named one cannot be reached.
        """
        major = backup.server_version // 10000
        if self.server is None:
            with scratch_server(major, prefix="restore", programs=self.programs) as server:
                yield server
            return
        server = named_server(self.server, programs=self.programs)
        if server.programs.major < major:
            raise CouldNotVerifyError(
                f"the backup is of PostgreSQL {major}, which {server.where} is too old for",
                hint="name a newer server, or none: then one of our own is started",
            )
        yield server


@dataclass(frozen=True, kw_only=True, slots=True)
class ScratchCopy:
    """A backup as a database of its own.

    Attributes:
        server: Where it is.
        control: A session in the maintenance database, which shows everybody that the run lives.
        run_id: The run; whatever has it in its name is dropped at the end.
        database: Its name.
        properties: What the database was like that was saved; the copy has only its encoding and locale.
        roles: The roles that the backup speaks of.
        fetched: How long it took to have the files here; of a copy of a cluster that is part of `restored`.
        restored: How long it took to compare them with the manifest, to restore and to analyze them.
    """

    server: ScratchServer
    control: Connection
    run_id: str
    database: str
    properties: DatabaseProperties
    roles: tuple[str, ...]
    fetched: timedelta
    restored: timedelta


@contextmanager
def scratch_copy(
    store: BackupStore,
    backup: Backup,
    server: ScratchServer,
    *,
    definitions: Backup | None = None,
    timeout: timedelta = PATIENCE,
    say: Say = lambda _text: None,
) -> Iterator[ScratchCopy]:
    """Restore a dump as a database of its own, for the length of the block. No other database is touched.

    Args:
        store: Where the backup lies.
        backup: Which: a whole database, or rows.
        server: Where to.
        definitions: Of rows alone: the schema backup that they are put into.
        timeout: pg_restore is stopped after that.
        say: Told what could not be dropped at the end.

    Raises:
        InvalidInputError, RecoveryError, BackupDamagedError, ToolError, DatabaseError: As `restore_beside`. What was
            restored until then was dropped.
    """
    run_id = secrets.token_hex(4)
    with control_session(server.access, purpose="scratch copy") as control:
        # The server's owner may end idle sessions, and with this one everybody would take the copy for a leftover.
        control.execute("SET idle_session_timeout = 0")
        sweep_dead_runs(control)
        with living_run(control, run_id):
            try:
                yield _restore(store, backup, definitions, server, control, run_id, timeout)
            finally:
                # A server of our own goes away as a whole.
                if not control.closed and not server.throwaway:
                    for left in remove_run(control, run_id):
                        say(f"not dropped: {left}")


@contextmanager
def cluster_scratch_copy(store: BackupStore, backup: Backup, *, programs: Path | None = None) -> Iterator[ScratchCopy]:
    """The database that a copy of a cluster was fingerprinted of, on a server of our own made of that copy.

    Args:
        store: Where the backup lies.
        backup: A copy of a cluster.
        programs: Folder of client programs that the user named.

    Raises:
        BackupDamagedError, CouldNotVerifyError, EmbeddedServerError, ToolError: As `running_copy`.
    """
    started = monotonic()
    with running_copy(store, backup) as copy, control_session(copy.access, purpose="scratch copy") as control:
        yield ScratchCopy(
            server=ScratchServer(
                access=copy.access,
                programs=find_programs(explicit=programs, server_major=backup.server_version // 10000),
                throwaway=True,
                where=copy.where,
            ),
            control=control,
            run_id=secrets.token_hex(4),
            database=backup.database,
            properties=read_properties(control, backup.database),
            roles=(),
            fetched=timedelta(),
            restored=timedelta(seconds=monotonic() - started),
        )


def _restore(
    store: BackupStore,
    backup: Backup,
    definitions: Backup | None,
    server: ScratchServer,
    control: Connection,
    run_id: str,
    timeout: timedelta,
) -> ScratchCopy:
    name = drill_names(run_id).restored
    started = monotonic()
    with ExitStack() as stack:
        rows = stack.enter_context(store.fetch(backup))
        schema = None if definitions is None else stack.enter_context(store.fetch(definitions))
        fetched = monotonic()
        properties, roles = _surroundings(control, schema or rows, server)
        like = replace(properties, tablespace=DEFAULT_TABLESPACE)
        manner = Manner(elsewhere=True, scratch=True, timeout=timeout)
        if definitions is None or schema is None:
            restore_beside(
                server.access,
                control,
                backup,
                rows,
                programs=server.programs,
                into=name,
                like=like,
                manner=manner,
            )
        else:
            restore_rows_beside(
                server.access,
                control,
                (definitions, schema),
                (backup, rows),
                programs=server.programs,
                into=name,
                like=like,
                manner=manner,
            )
    return ScratchCopy(
        server=server,
        control=control,
        run_id=run_id,
        database=name,
        properties=properties,
        roles=roles,
        fetched=timedelta(seconds=fetched - started),
        restored=timedelta(seconds=monotonic() - fetched),
    )


def _surroundings(
    control: Connection, folder: Path, server: ScratchServer
) -> tuple[DatabaseProperties, tuple[str, ...]]:
    """What the database was like, and its roles, which are made where the server is our own."""
    saved = saved_surroundings(folder)
    if saved is None:  # made before they were saved: the server's own template has to do
        return replace(read_properties(control, "template0"), settings=()), ()
    if server.throwaway:
        make_roles(control, saved.roles)
    return saved.properties, saved.roles


def make_roles(control: Connection, roles: tuple[str, ...]) -> None:
    """Make the roles that are missing, without any right.

    Raises:
        DatabaseError: The account may not.
    """
    there = {row[0] for row in control.execute("SELECT rolname FROM pg_roles")}
    for role in roles:
        if role not in there:
            try:
                control.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
            except psycopg.Error as exc:
                raise translate_error(exc, doing=f"make the role {role}") from exc
