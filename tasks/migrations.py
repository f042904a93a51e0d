"""Applying and rolling back migrations."""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import partial
from pathlib import Path

from blocks import PostgresDatabase
from squizzle.backups.records import Backup
from squizzle.errors import SquizzleError
from squizzle.migrations.executor import Report
from squizzle.migrations.listener import Listener
from squizzle.migrations.operations import apply_versions, roll_back_versions
from squizzle.numbers import number_of
from squizzle.postgres.access import connect
from squizzle.recovery.assess import assess_damage
from squizzle.recovery.decide import RollbackAttempt
from squizzle.recovery.fence import session_through_fence
from tasks.folders import Folder, read_folders
from tasks.sources import DatabaseSource
from tasks.steps import log_line, step

# Who blocks, and how far a long statement is, belongs into the log of the run that waits.
_LISTENER = Listener(on_wait=partial(log_line, level=logging.WARNING), on_progress=log_line)


def _applied(report: Report) -> str:
    versions = [outcome.version for outcome in report.outcomes]
    if not versions:
        return "nothing was pending"
    return f"{len(versions)} version{'s' if len(versions) > 1 else ''}, now at {versions[-1]}"


@step("Apply every migration", timeout=timedelta(hours=2), detail=_applied)
def apply_migrations(database: PostgresDatabase, *folders: Path) -> Report:
    """Apply everything pending of these folders."""
    return _apply(database, *folders)


@step("Disaster: apply the migration", timeout=timedelta(minutes=30), detail=_applied)
def play_migration(database: PostgresDatabase, *folders: Path) -> Report:
    """Apply the migration that should never have been written."""
    return _apply(database, *folders)


@step("Run the down script", timeout=timedelta(hours=2), detail=lambda done: f"{len(done.outcomes)} taken back")
def roll_back_migration(database: PostgresDatabase, *folders: Path, version: str) -> Report:
    """Take one version back, with clients in; as `squizzle rollback`."""
    target = database.target()
    with connect(database.access(), target.database, purpose="rollback") as connection:
        return roll_back_versions(connection, target, read_folders(*folders), only=version, listener=_LISTENER)


def _apply(database: PostgresDatabase, *folders: Path) -> Report:
    target = database.target()
    with connect(database.access(), target.database, purpose="migration") as connection:
        return apply_versions(connection, target, read_folders(*folders), listener=_LISTENER)


def _attempt(attempt: RollbackAttempt) -> str:
    if attempt.error:
        return f"failed: {attempt.error}"
    if not attempt.brought_back:
        return f"ran, but {attempt.remaining[0]}"
    if attempt.doubtful:
        where = number_of(len(attempt.doubtful), "table")
        return f"no row is missing; whether those of {where} are the right ones is not known before each is compared"
    return "everything is back"


@step("Try the down script", timeout=timedelta(hours=1), detail=_attempt)
def try_down_scripts(
    database: DatabaseSource, backup: Backup, versions: tuple[str, ...], *folders: Folder
) -> RollbackAttempt:
    """Roll these versions back, the newest first, behind the fence; then look whether that brought everything back.

    A down script that fails is a result, not an error: the next way back is waiting.
    """
    target = database.target()
    migrations = read_folders(*folders)
    done: list[str] = []
    with session_through_fence(database.access(), target.database, purpose="rollback") as connection:
        try:
            for version in reversed(versions):
                roll_back_versions(connection, target, migrations, only=version, listener=_LISTENER)
                done.append(version)
        except SquizzleError as exc:
            return RollbackAttempt(versions=tuple(done), error=exc.message, remaining=())
        found = assess_damage(connection, backup, schema=target.schema)
    return RollbackAttempt(versions=tuple(done), error="", remaining=found.damage, doubtful=found.changed_tables)
