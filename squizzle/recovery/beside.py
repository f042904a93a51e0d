"""Restoring a backup as a database of its own: proven before anybody gets in, and swapped in only when it was.

Until it is proven the new database carries the mark of a restore, and nobody is let in. Killed at any instant, the next
restore under the same name begins anew; after the swap, what is left to do is to let clients in.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import psycopg

from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.store import BackupStore
from squizzle.backups.surroundings import saved_surroundings
from squizzle.errors import DatabaseState, IdentityMismatchError, InvalidInputError, RecoveryError, SquizzleError
from squizzle.postgres.access import Connection, ServerAccess
from squizzle.postgres.database_properties import (
    DEFAULT_TABLESPACE,
    DatabaseProperties,
    apply_commands,
    read_properties,
)
from squizzle.postgres.identity import Identity, Target, check_identity, read_identity
from squizzle.postgres.names_in_queries import LONGEST_NAME_BYTES
from squizzle.postgres.programs import ClientPrograms
from squizzle.postgres.translation import translate_error
from squizzle.proof.records import Comparison
from squizzle.recovery.fence import control_session, fence, is_fenced, session_through_fence, unfence
from squizzle.recovery.restore import Manner, restore_beside, restore_rows_beside, verify_copy
from squizzle.recovery.single_flight import lock_recovery
from squizzle.recovery.switch_over import SwitchOver, changed_properties, switch_over, unused_name


@dataclass(frozen=True, kw_only=True, slots=True)
class RestoreOrder:
    """What is restored, from where, to where.

    Attributes:
        access: Server and account.
        store: Where the backups lie.
        backup: Which one.
        definitions: Of rows alone: the schema backup that they are put into.
        into: The new database's name.
        programs: Client programs that fit the server.
    """

    access: ServerAccess
    store: BackupStore
    backup: Backup
    into: str
    programs: ClientPrograms
    definitions: Backup | None = None


def restore_database(order: RestoreOrder, *, keep_closed: bool = False) -> Comparison:
    """Restore a backup as a new database and compare it with its fingerprints; no other database is touched.

    Args:
        order: What, where.
        keep_closed: Nobody is let in, and the mark stays: it is going to be swapped in.

    Returns:
        The comparison. When it `is_equal`, the database gets the saved owner, privileges, settings and comment, and is
        open. When it is not, nobody is let in, and the next restore under this name replaces it.

    Raises:
        InvalidInputError: The backup is none of a single database, or rows come without definitions. Nothing was made.
        LockTimeoutError: Somebody else restores under this name. Nothing was made.
        RecoveryError: There is such a database, or roles are missing. Nothing was made.
        BackupDamagedError: A file is not what the manifest says. Nothing was made.
        ToolError, DatabaseError: It failed; what was restored until then was dropped, or is replaced by the next one.
    """
    _refuse_kind(order)
    with control_session(order.access, purpose="restore") as control:
        lock_recovery(control, order.into)
        properties = _restore(order, control)
        fence(control, order.into)
        with session_through_fence(order.access, order.into, purpose="verify") as copy:
            comparison = verify_copy(copy, order.backup)
        if comparison.is_equal and not keep_closed:
            _hand_over(control, order.into, properties)
    return comparison


def _refuse_kind(order: RestoreOrder) -> None:
    backup = order.backup
    if backup.kind.is_cluster:
        raise InvalidInputError(
            f"backup {backup.id} ({backup.kind}) is a whole cluster, no database",
            hint=f"squizzle restore {backup.id} --into-folder DIR",
        )
    if backup.kind is BackupKind.DATA and order.definitions is None:
        raise InvalidInputError(
            f"backup {backup.id} holds rows alone, and they need tables to be put into",
            hint=f"name the schema backup of the same version: squizzle restore {backup.id} --definitions SCHEMA_ID"
            f" --into {order.into}",
        )


def _restore(order: RestoreOrder, control: Connection) -> DatabaseProperties:
    """Restore; returns the properties that the database had when it was saved."""
    elsewhere = _is_elsewhere(control, order.backup)
    with ExitStack() as stack:
        folder = stack.enter_context(order.store.fetch(order.backup))
        properties = _saved_properties(control, folder, elsewhere=elsewhere)
        if order.definitions is None:
            restore_beside(
                order.access,
                control,
                order.backup,
                folder,
                programs=order.programs,
                into=order.into,
                like=properties,
                manner=Manner(elsewhere=elsewhere),
            )
        else:
            restore_rows_beside(
                order.access,
                control,
                (order.definitions, stack.enter_context(order.store.fetch(order.definitions))),
                (order.backup, folder),
                programs=order.programs,
                into=order.into,
                like=properties,
                manner=Manner(elsewhere=elsewhere),
            )
    return properties


def _is_elsewhere(control: Connection, backup: Backup) -> bool:
    """Whether this is another server than the one that was saved; its tablespaces need not be here."""
    try:
        row = control.execute("SELECT system_identifier::text FROM pg_control_system()").fetchone()
    except psycopg.Error as exc:
        raise translate_error(exc, doing="read which cluster this is") from exc
    return row != (backup.system_identifier,)


def _saved_properties(control: Connection, folder: Path, *, elsewhere: bool) -> DatabaseProperties:
    saved = saved_surroundings(folder)
    if saved is None:  # made before they were saved: the server's own template has to do
        return replace(read_properties(control, "template0"), comment=None, grants=None, settings=())
    return replace(saved.properties, tablespace=DEFAULT_TABLESPACE) if elsewhere else saved.properties


def _hand_over(control: Connection, database: str, properties: DatabaseProperties) -> None:
    """Owner, privileges, settings, the comment, which takes our mark away, and open doors: all of it or nothing."""
    try:
        with control.transaction():
            for command in apply_commands(properties, database):
                control.execute(command)
            unfence(control, database)
    except psycopg.Error as exc:
        raise translate_error(exc, doing=f"give {database} its owner, privileges and settings") from exc


# Swapping in


def refuse_another_database(order: RestoreOrder, target: Target) -> Identity | None:
    """Look whether a backup is one of the database that it is to replace. Nothing is changed.

    Returns:
        Who the database says it is.

    Raises:
        IdentityMismatchError: The target is not the one that was meant, or the backup is of another database.
    """
    with session_through_fence(order.access, target.database, purpose="restore") as connection:
        found = read_identity(connection)
    check_identity(found, target.expected, database=target.database)
    backup = order.backup
    ids = (backup.identity_id, str(found.id) if found else None)
    is_same = ids[0] == ids[1] if all(ids) else backup.database == target.database
    if not is_same:
        raise IdentityMismatchError(
            f"backup {backup.id} is one of {backup.database} (id {ids[0] or 'none'}), not of {target.database}"
            f" (id {ids[1] or 'none'})",
            hint="restore it beside without --switch-over, and look at it",
        )
    return found


def kept_name(database: str, now: datetime) -> str:
    """The name under which a replaced database is kept."""
    suffix = f"__old_{now:%Y%m%d%H%M%S}"
    encoded = database.encode()[: LONGEST_NAME_BYTES - len(suffix)]
    return encoded.decode(errors="ignore") + suffix


def swap_in(
    order: RestoreOrder, *, database: str, keep_as: str, say: Callable[[str], None] = lambda _text: None
) -> SwitchOver:
    """Put a restored and proven database in the place of the damaged one, and let clients in. Nothing is dropped.

    Args:
        order: What was restored.
        database: The damaged one's name, which the restored one gets.
        keep_as: The name that the damaged one is kept under; where one of the name is kept already, as of a swap in the
            same second, a number is added.
        say: Told what is done.

    Raises:
        LockTimeoutError: The database is being recovered by somebody else; nothing was changed.
        RecoveryError, DatabaseError: Either both were renamed or none (`database_state`); whoever was shut out stays so
            until somebody lets clients in.
    """
    with control_session(order.access, purpose="switch-over") as control:
        lock_recovery(control, database)
        properties = read_properties(control, database)
        was_closed = is_fenced(control, database)
        keep_as = unused_name(control, keep_as, order.into)
        say(f"closing {database}, and putting {order.into} in its place")
        try:
            done = switch_over(control, database=database, restored=order.into, keep_as=keep_as, properties=properties)
        except SquizzleError as exc:
            if exc.database_state is DatabaseState.UNTOUCHED and not was_closed:
                _let_in_again(control, database, exc)
            raise
        changed = changed_properties(control, database, properties)
        if changed:
            raise RecoveryError(
                f"{database} is the restored database now, but is not quite like the old one: {'; '.join(changed)}",
                hint=f'set it right, then let clients in: ALTER DATABASE "{database}" ALLOW_CONNECTIONS true;'
                f" the old one is kept as {keep_as}",
            )
        unfence(control, database)
    return done


def _let_in_again(control: Connection, database: str, error: SquizzleError) -> None:
    """Both names are as they were: clients had the damaged database before, and get it back."""
    try:
        unfence(control, database)
    except SquizzleError as second:
        error.add_note(f"Also, clients could not be let into {database} again: {second.message}")
