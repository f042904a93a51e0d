"""Rebuilding a lost server on an empty one: its roles, then every database, each compared row by row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from squizzle.backups.records import Backup
from squizzle.backups.store import BackupStore
from squizzle.errors import InvalidInputError, RefusedError, SquizzleError
from squizzle.postgres.access import Connection, ServerAccess
from squizzle.postgres.programs import ClientPrograms
from squizzle.recovery.beside import RestoreOrder, restore_database
from squizzle.recovery.cluster_roles import restore_roles
from squizzle.recovery.fence import control_session, session_through_fence
from squizzle.recovery.means import system_identifier
from squizzle.recovery.new_database import is_taken
from squizzle.recovery.rebuild.records import RebuiltDatabase, RebuiltServer, SavedServer
from squizzle.recovery.restore import verify_copy

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class NewServer:
    """Where a lost server is rebuilt.

    Attributes:
        access: The new server, and a superuser of it, or who may make roles and databases.
        store: What is left.
        programs: Client programs that fit the new server.
    """

    access: ServerAccess
    store: BackupStore
    programs: ClientPrograms


def refuse_unfit_server(server: NewServer, saved: SavedServer) -> None:
    """Refuse to rebuild a server on itself, or on an older one. Nothing is changed.

    Raises:
        RefusedError: It is the very server that was saved, so it is not lost.
        InvalidInputError: It is older than what was saved.
    """
    with control_session(server.access, purpose="rebuild") as control:
        identifier, major = system_identifier(control), control.info.server_version // 10000
    if identifier and identifier == saved.system_identifier:
        raise RefusedError(
            f"{server.access.where} is the server {identifier} itself, which is not lost",
            hint="name a new, empty server; single databases come back by squizzle restore ID --into NAME",
        )
    newest = max(backup.server_version for backup in saved.databases) // 10000
    if major < newest:
        raise InvalidInputError(
            f"{server.access.where} is PostgreSQL {major}, and the backups are of PostgreSQL {newest}",
            hint=f"install PostgreSQL {newest} or newer there: dumps do not go back to an older server",
        )


def rebuild_server(server: NewServer, saved: SavedServer, *, say: Say = lambda _text: None) -> RebuiltServer:
    """Make the roles that are missing, then restore and compare one database after the other.

    What is there already is not touched; a database that an earlier run had restored is compared again. One that
    cannot be restored does not keep the others from it.

    Args:
        server: Where.
        saved: From what (`find_saved_server`).
        say: Told what is done.

    Returns:
        What became of each. A database that is not what was saved lets nobody in.

    Raises:
        RefusedError, InvalidInputError: See `refuse_unfit_server`. Nothing was made.
        BackupDamagedError, DatabaseError: The roles cannot be made; none was, and no database either.
    """
    refuse_unfit_server(server, saved)
    with control_session(server.access, purpose="rebuild") as control:
        with server.store.fetch(saved.roles) as folder:
            roles = restore_roles(control, saved.roles, folder)
        say(f"{len(roles.made)} roles made, {len(roles.kept)} were there")
        done = []
        for backup in saved.databases:
            say(f"restoring {backup.database}, {backup.rows:,} rows, from {backup.id}")
            done.append(_rebuild_database(server, control, backup))
    return RebuiltServer(saved=saved, roles=roles, databases=tuple(done))


def _rebuild_database(server: NewServer, control: Connection, backup: Backup) -> RebuiltDatabase:
    try:
        if is_taken(control, backup.database):
            return _look_again(server, backup)
        order = RestoreOrder(
            access=server.access, store=server.store, backup=backup, into=backup.database, programs=server.programs
        )
        return RebuiltDatabase(backup=backup, comparison=restore_database(order))
    except SquizzleError as exc:
        return RebuiltDatabase(backup=backup, problem=exc.message)


def _look_again(server: NewServer, backup: Backup) -> RebuiltDatabase:
    """A restored database gets its name's rights last, so one without our mark is whole, or somebody else's."""
    with session_through_fence(server.access, backup.database, purpose="verify") as connection:
        comparison = verify_copy(connection, backup)
    other = f"a database of this name was there already, and is not what backup {backup.id} was"
    return RebuiltDatabase(
        backup=backup, comparison=comparison, was_there=True, problem="" if comparison.is_equal else other
    )
