"""The steps of a recovery: fence, assess, restore beside, switch over, verify, let in again."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta

from psycopg import sql

from squizzle.backups.records import Backup
from squizzle.backups.store import BackupStore
from squizzle.errors import RecoveryError, SquizzleError
from squizzle.frames.forecast import drilled_in
from squizzle.numbers import number_of
from squizzle.postgres.access import connect
from squizzle.postgres.database_properties import DatabaseProperties, read_properties
from squizzle.postgres.identity import check_identity, read_identity
from squizzle.postgres.programs import find_programs
from squizzle.proof.records import Comparison
from squizzle.recovery.assess import Activity, Assessment, read_activity
from squizzle.recovery.assess import assess_damage as assess
from squizzle.recovery.fence import control_session, fence, session_through_fence, unfence
from squizzle.recovery.means import find_backups, find_means, newest_comparable, system_identifier
from squizzle.recovery.new_database import drop_unfinished
from squizzle.recovery.prepared_copy import forget_fingerprint, verify_copy_unchanged
from squizzle.recovery.restore import restore_beside, verify_copy
from squizzle.recovery.salvage.keeping import compare_rows, take_salvage
from squizzle.recovery.salvage.records import Salvage, TableSalvage
from squizzle.recovery.sequences import SequenceMove, carry_sequences
from squizzle.recovery.single_flight import recovering_alone
from squizzle.recovery.switch_over import KeptDatabase, SwitchOver, changed_properties, list_kept, switch_over
from squizzle.recovery.ways import DrilledWay, Means
from tasks.folders import Folder, read_folders
from tasks.sources import DatabaseSource, StoreSource
from tasks.steps import log_line, now, step

NOTHING_SEEN = Activity()


@step("See what is going on", timeout=timedelta(minutes=1), detail=lambda found: found.sentence)
def note_activity(database: DatabaseSource) -> Activity:
    """What can be seen while clients are still in; the identity is compared where anybody is let in at all."""
    target = database.target()
    access = database.access()
    with control_session(access, purpose="assess") as control:
        activity = read_activity(control, target.database)
    with session_through_fence(access, target.database, purpose="assess") as connection:
        check_identity(read_identity(connection), target.expected, database=target.database)
    return activity


@step("Find the backup to compare with", timeout=timedelta(minutes=10), detail=lambda backup: backup.id)
def find_backup(database: DatabaseSource, store: StoreSource, *, backup_id: str, before: datetime | None) -> Backup:
    """The one that was named, else the newest whole one from before the disaster."""
    place = store.open()
    if backup_id:
        return place.read(backup_id)
    with control_session(database.access(), purpose="assess") as control:
        identifier = system_identifier(control)
    return newest_comparable(place, find_backups(place, database.database, system_identifier=identifier), before=before)


@step("Fence the database", timeout=timedelta(minutes=5), detail=lambda ended: f"{ended} sessions ended")
def fence_database(database: DatabaseSource) -> int:
    """Let nobody new in and end the sessions that are in; returns how many."""
    with control_session(database.access(), purpose="fence") as control:
        return fence(control, database.database)


def _damage(assessment: Assessment) -> str:
    damage = assessment.damage
    return f"{number_of(len(damage), 'finding')}, first: {damage[0]}" if damage else "no damage found"


@step("Assess the damage", timeout=timedelta(hours=12), detail=_damage)
def assess_damage(
    database: DatabaseSource,
    backup: Backup,
    *folders: Folder,
    activity: Activity = NOTHING_SEEN,
    since: datetime | None = None,
    by_migration: bool = False,
) -> Assessment:
    """Compare the database with the backup's fingerprints, behind the fence if there is one."""
    target = database.target()
    known = frozenset(one.version for one in read_folders(*folders)) if folders else None
    with session_through_fence(database.access(), target.database, purpose="assess") as connection:
        return assess(
            connection,
            backup,
            schema=target.schema,
            known_versions=known,
            activity=activity,
            since=since,
            by_migration=by_migration,
        )


def _ways(means: Means) -> str:
    return (
        f"{number_of(len(means.backups), 'backup')}, {number_of(len(means.copies), 'prepared copy', 'prepared copies')}"
    )


@step("See what there is to recover with", timeout=timedelta(minutes=30), detail=_ways)
def look_for_means(database: DatabaseSource, store: StoreSource, *folders: Folder) -> Means:
    """Down scripts and their times, change log, prepared copies, backups with their proofs."""
    target = database.target()
    access = database.access()
    migrations = read_folders(*folders)
    with (
        control_session(access, purpose="assess") as control,
        session_through_fence(access, target.database, purpose="assess") as connection,
    ):
        place = store.open()
        means = find_means(control, connection, place, schema=target.schema, migrations=migrations)
    return replace(means, drilled=_drilled(place))


def _drilled(store: BackupStore) -> tuple[DrilledWay, ...]:
    """What ways back took in drills; where that cannot be read, a recovery goes on without."""
    try:
        return drilled_in(store)
    except SquizzleError as exc:
        log_line(f"what drills took is not known: {exc.message}", logging.WARNING)
        return ()


@step("Note owner, privileges and settings", timeout=timedelta(minutes=1))
def note_properties(database: DatabaseSource) -> DatabaseProperties:
    """What belongs to the database itself and must be carried over."""
    with control_session(database.access(), purpose="recovery") as control:
        return read_properties(control, database.database)


@step("Restore the backup beside it", timeout=timedelta(hours=24))
def restore_copy(
    database: DatabaseSource, store: StoreSource, backup: Backup, *, into: str, like: DatabaseProperties
) -> None:
    """Check every file of the backup, then restore it into a new database; the damaged one is not touched."""
    place = store.open()
    access = database.access()
    with control_session(access, purpose="recovery") as control:
        programs = find_programs(explicit=None, server_major=control.info.server_version // 10000)
        manifest = place.read(backup.id)
        with place.fetch(manifest) as files:
            restore_beside(access, control, manifest, files, programs=programs, into=into, like=like)


def _compared(comparison: Comparison) -> str:
    rows = number_of(sum(table.found_rows or 0 for table in comparison.tables), "row")
    tables = number_of(len(comparison.tables), "table")
    if comparison.is_equal:
        return f"equal: {rows} in {tables}, schema {comparison.schema.value}"
    return f"DIFFERENT: {comparison.sentences()[0]}"


@step("Compare the copy with the backup", timeout=timedelta(hours=12), detail=_compared)
def compare_copy(database: DatabaseSource, backup: Backup, *, copy: str) -> Comparison:
    """Fingerprint the restored copy and compare it with the manifest, table by table."""
    with connect(database.access(), copy, purpose="verify", read_only=True) as connection:
        return verify_copy(connection, backup)


def refuse_different(comparison: Comparison, *, what: str) -> None:
    """Stop when a comparison found differences; the damaged database stays where it is.

    Raises:
        RecoveryError: Says how many differences there are.
    """
    if not comparison.is_equal:
        places = number_of(len(comparison.sentences()), "place")
        raise RecoveryError(
            f"{what} differs from the backup in {places}, so nothing was switched over",
            hint="do not let clients in; use another backup, and keep both databases for finding out why",
        )


@step("Switch over", timeout=timedelta(minutes=10), detail=lambda done: f"the damaged one is kept as {done.kept_as}")
def switch_databases(
    database: DatabaseSource, *, restored: str, keep_as: str, properties: DatabaseProperties
) -> SwitchOver:
    """Swap the names in one transaction and carry the properties over; both stay fenced."""
    with control_session(database.access(), purpose="switch-over") as control:
        return switch_over(
            control, database=database.database, restored=restored, keep_as=keep_as, properties=properties
        )


@step("Bring the damaged one back to its name", timeout=timedelta(minutes=10))
def switch_back(database: DatabaseSource, *, damaged: str, refused: str, properties: DatabaseProperties) -> None:
    """Undo a switch-over whose result could not be verified; both stay fenced."""
    with control_session(database.access(), purpose="switch-over") as control:
        switch_over(
            control,
            database=database.database,
            restored=damaged,
            keep_as=refused,
            properties=properties,
            is_undo=True,
        )


def _switched(found: KeptDatabase | None) -> str:
    return f"{found.replaced_by} was swapped in at {found.kept_at:%H:%M:%S} UTC" if found else "none"


@step("Look for a switch-over of an earlier run", timeout=timedelta(minutes=1), detail=_switched)
def find_switch_over(database: DatabaseSource, *, since: datetime) -> KeptDatabase | None:
    """What a run of this recovery put aside and did not come to finish; None when there is nothing.

    Args:
        database: Which.
        since: When this recovery fenced it; every run of it has the same fence.
    """
    with control_session(database.access(), purpose="assess") as control:
        last = next(iter(list_kept(control, database.database)), None)
    return last if last is not None and last.kept_at >= since and not last.is_undone else None


@contextmanager
def one_recovery(database: DatabaseSource) -> Iterator[None]:
    """Hold the database's recovery lock for the length of a flow. No task: it must be there between tasks, too.

    Raises:
        LockTimeoutError: Another recovery of this database runs.
    """
    with recovering_alone(database.access(), database.database) as dropped:
        if dropped:
            log_line(f"dropped what killed recoveries left: {', '.join(dropped)}")
        yield


def _row_by_row(found: tuple[TableSalvage, ...]) -> str:
    lost = sum(one.gone + one.changed for one in found)
    text = f"{lost:,} rows of the backup are gone or others, {sum(one.added for one in found):,} came since"
    return f"{text}; no more was compared" if any(map(lacks_rows, found)) else text


def lacks_rows(table: TableSalvage) -> bool:
    """Whether rows of a backup are not there as they were, or nobody can tell: then the way back did not work."""
    return bool(table.gone or table.changed or table.note)


@step("Compare every row with the restored backup", timeout=timedelta(hours=12), detail=_row_by_row)
def compare_with_copy(database: DatabaseSource, *, copy: str, only: frozenset[str]) -> tuple[TableSalvage, ...]:
    """Compare the database with a restored backup row by row, by key; then drop the restored one.

    Args:
        database: The damaged one.
        copy: The restored one.
        only: These tables; all for none. Behind one that lacks rows none is compared: it says enough.
    """
    found = compare_rows(database.access(), database.database, copy, only=only, until=lacks_rows)
    with control_session(database.access(), purpose="recovery") as control:
        drop_unfinished(control, copy)
    return found


@step("Verify the prepared copy", timeout=timedelta(hours=12), detail=lambda found: found[0] if found else "as it was")
def verify_prepared(database: DatabaseSource, *, copy: str) -> tuple[str, ...]:
    """Compare a prepared copy with the fingerprint of when it was made; returns every difference."""
    with session_through_fence(database.access(), copy, purpose="verify") as connection:
        return verify_copy_unchanged(connection)


@step("Verify that the prepared copy is in its place", timeout=timedelta(hours=12))
def verify_swapped(database: DatabaseSource) -> None:
    """The copy under the database's name is as it was; then it is an ordinary database.

    Raises:
        RecoveryError: It is not.
    """
    with session_through_fence(database.access(), database.database, purpose="verify") as connection:
        differences = verify_copy_unchanged(connection)
        if differences:
            raise RecoveryError(f"the copy that was swapped in is not as it was: {differences[0]}", hint=_KEEP_FENCED)
        forget_fingerprint(connection)


_KEEP_FENCED = "clients stay out; `squizzle switch-over --undo` brings the damaged one back, or take another way"


def _moved(moves: tuple[SequenceMove, ...]) -> str:
    return f"{len(moves)} moved on" if moves else "none is behind"


@step("Let sequences go on where they stopped", timeout=timedelta(minutes=10), detail=_moved)
def move_sequences(database: DatabaseSource, *, damaged: str) -> tuple[SequenceMove, ...]:
    """Move sequences of the recovered database on to where the damaged one's stand: no number is given out twice."""
    access = database.access()
    with (
        session_through_fence(access, damaged, purpose="sequences") as left,
        session_through_fence(access, database.database, purpose="sequences") as right,
    ):
        return carry_sequences(left, right)


def _salvaged(found: Salvage) -> str:
    return f"{found.rows_at_risk:,} rows are only in the damaged database"


@step("Keep what only the damaged database has", timeout=timedelta(hours=12), detail=_salvaged)
def salvage_rows(database: DatabaseSource, *, damaged: str, salvage_id: str, backup_id: str) -> Salvage:
    """Compare both databases row by row; what was written after the backup is kept for `squizzle salvage merge`."""
    return take_salvage(
        database.access(), damaged, database.database, salvage_id=salvage_id, backup_id=backup_id, now=now()
    )


@step("Verify the recovered database", timeout=timedelta(hours=12), detail=_compared)
def verify_database(database: DatabaseSource, backup: Backup) -> Comparison:
    """Compare the database under its own name with the backup, behind the fence."""
    with session_through_fence(database.access(), database.database, purpose="verify") as connection:
        return verify_copy(connection, backup)


@step(
    "Compare owner, privileges and settings",
    timeout=timedelta(minutes=1),
    detail=lambda changed: "; ".join(changed) or "all carried over",
)
def compare_properties(database: DatabaseSource, expected: DatabaseProperties) -> tuple[str, ...]:
    """In which properties the recovered database differs from the damaged one."""
    with control_session(database.access(), purpose="verify") as control:
        return changed_properties(control, database.database, expected)


@step("Let clients in again", timeout=timedelta(minutes=1))
def unfence_database(database: DatabaseSource) -> None:
    """Lift the fence."""
    with control_session(database.access(), purpose="unfence") as control:
        unfence(control, database.database)


@step("Read as the application", timeout=timedelta(minutes=5), detail=str)
def read_as_application(database: DatabaseSource, *, role: str, table: tuple[str, str]) -> str:
    """Read a table with the application's own rights; returns what it saw, as the end of a sentence."""
    with connect(database.access(), database.database, purpose="application check", read_only=True) as connection:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(*table))
        row = connection.execute(query).fetchone()
    return f"reads {row[0] if row else 0:,} rows of {table[1]}"
