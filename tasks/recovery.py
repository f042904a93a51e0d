"""The steps of a recovery: fence, assess, restore beside, switch over, verify, let in again."""

from __future__ import annotations

from datetime import timedelta

from psycopg import sql

from blocks import BackupBucket, BackupFolder, PostgresDatabase
from squizzle.backups.records import Backup
from squizzle.errors import RecoveryError
from squizzle.postgres.access import connect
from squizzle.postgres.database_properties import DatabaseProperties, read_properties
from squizzle.postgres.programs import find_programs
from squizzle.proof.records import Comparison
from squizzle.recovery.assess import Assessment
from squizzle.recovery.assess import assess_damage as assess
from squizzle.recovery.fence import control_session, fence, session_through_fence, unfence
from squizzle.recovery.restore import restore_beside, verify_copy
from squizzle.recovery.switch_over import SwitchOver, changed_properties, switch_over
from tasks.steps import step


@step("Fence the database", timeout=timedelta(minutes=5), detail=lambda ended: f"{ended} sessions ended")
def fence_database(database: PostgresDatabase) -> int:
    """Let nobody new in and end the sessions that are in; returns how many."""
    with control_session(database.access(), purpose="fence") as control:
        return fence(control, database.database)


def _damage(assessment: Assessment) -> str:
    damage = assessment.damage
    return f"{len(damage)} findings, first: {damage[0]}" if damage else "no damage found"


@step("Assess the damage", timeout=timedelta(hours=1), detail=_damage)
def assess_damage(database: PostgresDatabase, backup: Backup) -> Assessment:
    """Compare the database with the backup's fingerprints, behind the fence."""
    target = database.target()
    with session_through_fence(database.access(), target.database, purpose="assess") as connection:
        return assess(connection, backup, schema=target.schema)


@step("Note owner, privileges and settings", timeout=timedelta(minutes=1))
def note_properties(database: PostgresDatabase) -> DatabaseProperties:
    """What belongs to the database itself and must be carried over."""
    with control_session(database.access(), purpose="recovery") as control:
        return read_properties(control, database.database)


@step("Restore the backup beside it", timeout=timedelta(hours=24))
def restore_copy(
    database: PostgresDatabase,
    store: BackupFolder | BackupBucket,
    backup: Backup,
    *,
    into: str,
    like: DatabaseProperties,
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
    rows = sum(table.found_rows or 0 for table in comparison.tables)
    if comparison.is_equal:
        return f"equal: {rows:,} rows in {len(comparison.tables)} tables, schema {comparison.schema.value}"
    return f"DIFFERENT: {comparison.sentences()[0]}"


@step("Compare the copy with the backup", timeout=timedelta(hours=12), detail=_compared)
def compare_copy(database: PostgresDatabase, backup: Backup, *, copy: str) -> Comparison:
    """Fingerprint the restored copy and compare it with the manifest, table by table."""
    with connect(database.access(), copy, purpose="verify", read_only=True) as connection:
        return verify_copy(connection, backup)


def refuse_different(comparison: Comparison, *, what: str) -> None:
    """Stop when a comparison found differences; the damaged database stays where it is.

    Raises:
        RecoveryError: Says how many differences there are.
    """
    if not comparison.is_equal:
        raise RecoveryError(
            f"{what} differs from the backup in {len(comparison.sentences())} places, so nothing was switched over",
            hint="do not let clients in; use another backup, and keep both databases for finding out why",
        )


@step("Switch over", timeout=timedelta(minutes=10), detail=lambda done: f"the damaged one is kept as {done.kept_as}")
def switch_databases(
    database: PostgresDatabase, *, restored: str, keep_as: str, properties: DatabaseProperties
) -> SwitchOver:
    """Swap the names in one transaction and carry the properties over; both stay fenced."""
    with control_session(database.access(), purpose="switch-over") as control:
        return switch_over(
            control, database=database.database, restored=restored, keep_as=keep_as, properties=properties
        )


@step("Verify the recovered database", timeout=timedelta(hours=12), detail=_compared)
def verify_database(database: PostgresDatabase, backup: Backup) -> Comparison:
    """Compare the database under its own name with the backup, behind the fence."""
    with session_through_fence(database.access(), database.database, purpose="verify") as connection:
        return verify_copy(connection, backup)


@step(
    "Compare owner, privileges and settings",
    timeout=timedelta(minutes=1),
    detail=lambda changed: "; ".join(changed) or "all carried over",
)
def compare_properties(database: PostgresDatabase, expected: DatabaseProperties) -> tuple[str, ...]:
    """In which properties the recovered database differs from the damaged one."""
    with control_session(database.access(), purpose="verify") as control:
        return changed_properties(control, database.database, expected)


@step("Let clients in again", timeout=timedelta(minutes=1))
def unfence_database(database: PostgresDatabase) -> None:
    """Lift the fence."""
    with control_session(database.access(), purpose="unfence") as control:
        unfence(control, database.database)


@step("Read as the application", timeout=timedelta(minutes=5), detail=str)
def read_as_application(database: PostgresDatabase, *, role: str, table: str) -> str:
    """Read a table with the application's own rights; returns what it saw, as the end of a sentence."""
    with connect(database.access(), database.database, purpose="application check", read_only=True) as connection:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))
        row = connection.execute(query).fetchone()
    return f"reads {row[0] if row else 0:,} rows of {table}"
