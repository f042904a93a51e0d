"""Restoring a backup, or a database as it was at a point in time: find it, bring it beside, put it in a place."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from blocks import BackupBucket, BackupFolder, PostgresDatabase
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.wal.open_archive import archive_of
from squizzle.errors import InvalidInputError
from squizzle.postgres.access import CONTROL_DATABASE, connect
from squizzle.postgres.programs import ClientPrograms, find_programs
from squizzle.recovery.beside import RestoreOrder, kept_name, refuse_another_database, restore_database, swap_in
from squizzle.recovery.fence import control_session
from squizzle.recovery.means import find_backups, system_identifier
from squizzle.recovery.point_in_time.bringing import PointOrder, find_route, restore_to_point
from squizzle.recovery.recovery_target import RecoveryTarget, parse_target
from squizzle.recovery.restore_run import Restored, RestorePlan, newest_verified
from squizzle.recovery.switch_over import SwitchOver
from tasks.steps import log_line, now, step


@dataclass(frozen=True, kw_only=True, slots=True)
class RestoreCase:
    """What is asked for.

    Attributes:
        database: The database, by the name that clients use, and the server.
        store: Where its backups are, and the archived log.
        backup_id: Which; empty for the newest verified one, or the newest copy that ends before the point.
        target: The point in time; None for the backup itself, or the point that `backup_id` is the mark of.
        into: The new database's name.
        tables: With a point: only these get their rows.
        switch_over: Whether it takes the place of `database`.
    """

    database: PostgresDatabase
    store: BackupFolder | BackupBucket
    backup_id: str
    target: RecoveryTarget | None
    into: str
    tables: tuple[str, ...]
    switch_over: bool


def target_of(kind: str, text: str) -> RecoveryTarget | None:
    """The point that a form says; None for the backup itself.

    Raises:
        InvalidInputError: A point without its kind, a kind without a point, or it cannot be read.
    """
    needs_text = kind not in {"none", "latest"}
    if needs_text != bool(text):
        raise InvalidInputError(
            f"the kind of the point is {kind}, and the point is {text!r}",
            hint="name, lsn and time need a point; none and latest need none",
        )
    return parse_target(
        to_name=text if kind == "name" else None,
        to_lsn=text if kind == "lsn" else None,
        to_time=text if kind == "time" else None,
        to_latest=kind == "latest",
    )


def decisions_beside(database: PostgresDatabase) -> PostgresDatabase:
    """Where a decision about a database is recorded that is going to be exchanged: in the maintenance database."""
    return database.model_copy(update={"database": CONTROL_DATABASE})


def _planned(plan: RestorePlan) -> str:
    return f"{plan.backup.id} ({plan.backup.kind}){f', then the log to {plan.point}' if plan.point else ''}"


@step("Find what to restore from", timeout=timedelta(minutes=30), detail=_planned)
def find_restore(case: RestoreCase) -> RestorePlan:
    """The backup, or the copy and the log up to the point; nothing is made.

    Raises:
        InvalidInputError, BackupDamagedError: There is none, or the log has a gap.
        IdentityMismatchError: It is of another database than the one that it is to replace.
    """
    if case.tables and case.switch_over:
        raise InvalidInputError(
            "a database with the rows of some tables alone must not take the place of a whole one",
            hint="leave Switch over off, and merge them: squizzle salvage compare --from NAME",
        )
    named = case.store.open().read(case.backup_id) if case.backup_id else None
    point = ""
    if case.target is not None or (named is not None and named.kind is BackupKind.MARK):
        route = find_route(_point_order(case, named))
        backup, point = route.backup, route.point.words
    elif case.tables:
        raise InvalidInputError("single tables come back with a point in time", hint="say to which point")
    else:
        backup = named or _newest(case)
    environments = {case.database.environment}
    if case.switch_over:
        of_target = replace(backup, database=case.database.database, identity_id=None)
        known = backup if backup.database == case.database.database or not point else of_target
        found = refuse_another_database(_order(case, known), case.database.target())
        environments |= {found.environment} if found and found.environment else set()
    return RestorePlan(
        database=case.database.database,
        environment=tuple(sorted(environments)),
        backup=backup,
        point=point,
        into=case.into,
        tables=case.tables,
        switch_over=case.switch_over,
    )


def _newest(case: RestoreCase) -> Backup:
    store = case.store.open()
    with control_session(case.database.access(), purpose="restore") as control:
        identifier = system_identifier(control)
    return store.read(newest_verified(find_backups(store, case.database.database, system_identifier=identifier)).id)


def _programs(case: RestoreCase) -> ClientPrograms:
    with connect(case.database.access(), CONTROL_DATABASE, purpose="version check", read_only=True) as connection:
        return find_programs(explicit=None, server_major=connection.info.server_version // 10000)


def _order(case: RestoreCase, backup: Backup) -> RestoreOrder:
    return RestoreOrder(
        access=case.database.access(),
        store=case.store.open(),
        backup=backup,
        into=case.into,
        programs=_programs(case),
    )


def _point_order(case: RestoreCase, named: Backup | None) -> PointOrder:
    store = case.store.open()
    return PointOrder(
        access=case.database.access(),
        target=case.database.target(),
        store=store,
        archive=archive_of(store),
        into=case.into,
        programs=_programs(case),
        asked=case.target,
        backup=named,
        tables=case.tables,
    )


def _restored(found: Restored) -> str:
    said = f"stopped at {found.arrival.lsn}, " if found.arrival else ""
    if found.comparison.is_equal:
        return f"{said}equal: {found.rows:,} rows in {len(found.comparison.tables)} tables"
    return f"{said}DIFFERENT: {found.comparison.sentences()[0]}"


@step("Restore it beside, and compare", timeout=timedelta(hours=24), detail=_restored)
def restore_it(case: RestoreCase, plan: RestorePlan) -> Restored:
    """Bring it back as a new database and compare every row; no other one is touched.

    Safe to repeat: what an earlier try left under that name carries its mark and is replaced.
    """
    if not plan.point:
        backup = case.store.open().read(plan.backup.id)
        comparison = restore_database(_order(case, backup), keep_closed=case.switch_over)
        return Restored(comparison=comparison, rows=backup.rows)
    named = case.store.open().read(case.backup_id) if case.backup_id else plan.backup
    order = _point_order(case, named)
    done = restore_to_point(order, find_route(order), keep_closed=case.switch_over, say=log_line)
    return Restored(comparison=done.comparison, rows=done.rows, arrival=done.arrival)


@step("Put it in its place", timeout=timedelta(minutes=30), detail=lambda done: f"the one before is {done.kept_as}")
def swap_it_in(case: RestoreCase, plan: RestorePlan) -> SwitchOver:
    """Two renames in one transaction; the one before is kept, closed."""
    database = case.database.database
    return swap_in(_order(case, plan.backup), database=database, keep_as=kept_name(database, now()), say=log_line)
