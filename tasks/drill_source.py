"""The data of somebody's newest backup to drill with: chosen in its store, restored, compared, and cut off."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta

from psycopg import sql

from squizzle.backups.records import Backup
from squizzle.backups.surroundings import saved_surroundings
from squizzle.durations import words
from squizzle.errors import RecoveryError
from squizzle.migrations.history import history_table
from squizzle.postgres.access import connect
from squizzle.postgres.database_properties import DEFAULT_TABLESPACE, read_properties
from squizzle.postgres.programs import find_programs
from squizzle.recovery.fence import control_session
from squizzle.recovery.means import find_backups, newest_comparable
from squizzle.recovery.restore import Manner, restore_beside, verify_copy
from squizzle.recovery.scratch_copy import make_roles
from squizzle.rehearsal.place_rows import cut_off
from tasks.drilling import Base
from tasks.scratch import DrillPlace
from tasks.sources import DatabaseSource, StoreSource
from tasks.steps import now, step


@step("Choose the newest backup", timeout=timedelta(minutes=30), detail=lambda backup: backup.id)
def choose_source(source: DatabaseSource, store: StoreSource) -> Backup:
    """The newest whole backup of a database; the database itself is not asked, for it may be production.

    Raises:
        InvalidInputError: There is none.
    """
    place = store.open()
    found = find_backups(place, source.database, system_identifier="")
    wanted = source.target().expected.id
    ours = [one for one in found if wanted is None or one.backup is None or one.backup.identity_id == str(wanted)]
    return newest_comparable(place, ours)


@step("Restore it to drill with", timeout=timedelta(hours=24), detail=lambda base: base.source)
def restore_source(place: DrillPlace, store: StoreSource, backup: Backup, *, makes_roles: bool) -> Base:
    """Restore a backup into a database of the drill's, compare every row, and cut it off from other servers.

    Args:
        place: Where to; nobody but the account gets in.
        store: Where the backup lies; it is only read.
        backup: Which.
        makes_roles: Whether the server goes with the drill, so that the backup's roles may be made there.

    Raises:
        RecoveryError: Restored it is not what was saved, or roles are missing.
        BackupDamagedError, ToolError, DatabaseError: As `restore_beside`.
    """
    access, name = place.database.access(), place.names.database
    with ExitStack() as stack:
        control = stack.enter_context(control_session(access, purpose="drill"))
        folder = stack.enter_context(store.open().fetch(backup))
        saved = saved_surroundings(folder)
        properties = read_properties(control, "template0") if saved is None else saved.properties
        if saved is not None and makes_roles:
            make_roles(control, saved.roles)
        restore_beside(
            access,
            control,
            backup,
            folder,
            programs=find_programs(explicit=None, server_major=control.info.server_version // 10000),
            into=name,
            like=replace(properties, tablespace=DEFAULT_TABLESPACE, settings=()),
            manner=Manner(elsewhere=True, scratch=True),
        )
    with connect(access, name, purpose="drill") as connection:
        comparison = verify_copy(connection, backup)
        cut_off(connection)
        # Whose migrations they are is not known here, and a history of others would be in the way of the drill's own.
        history = history_table(place.database.schema_name)
        if connection.execute("SELECT to_regclass(%s)", (history.as_string(),)).fetchone() != (None,):
            connection.execute(sql.SQL("DELETE FROM {}").format(history))
    if not comparison.is_equal:
        raise RecoveryError(
            f"backup {backup.id} restored is not what was saved: {comparison.sentences()[0]}",
            hint="that is a disaster, and no drill: `squizzle verify-backup --restore` says more",
        )
    age = words(now() - backup.started_at)
    return Base(
        database=name,
        source=f"backup {backup.id} of {backup.database}, {age} old",
        migrations=(),
        is_example=False,
    )
