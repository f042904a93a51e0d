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
from squizzle.migrations.layouts import read_migrations
from squizzle.migrations.listener import Listener
from squizzle.migrations.operations import apply_versions, roll_back_versions
from squizzle.migrations.records import Migration
from squizzle.postgres.access import connect
from squizzle.recovery.assess import assess_damage
from squizzle.recovery.decide import RollbackAttempt
from squizzle.recovery.fence import session_through_fence
from tasks.steps import log_line, step


def read_folders(*folders: Path) -> tuple[Migration, ...]:
    """The migrations of several folders as one history."""
    return tuple(migration for folder in folders for migration in read_migrations(folder))


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


@step("Disaster: a migration drops the users table", timeout=timedelta(minutes=30), detail=_applied)
def play_data_loss(database: PostgresDatabase, *folders: Path) -> Report:
    """Apply the migration that should never have been written."""
    return _apply(database, *folders)


def _apply(database: PostgresDatabase, *folders: Path) -> Report:
    target = database.target()
    with connect(database.access(), target.database, purpose="migration") as connection:
        return apply_versions(connection, target, read_folders(*folders), listener=_LISTENER)


def _attempt(attempt: RollbackAttempt) -> str:
    if attempt.error:
        return f"failed: {attempt.error}"
    return "everything is back" if attempt.brought_back else f"ran, but {attempt.remaining[0]}"


@step("Try the down script", timeout=timedelta(hours=1), detail=_attempt)
def try_down_scripts(database: PostgresDatabase, backup: Backup, *folders: Path) -> RollbackAttempt:
    """Roll back to the backup's version behind the fence, and look whether that brought everything back.

    A down script that fails is a result, not an error: the next way back is waiting.
    """
    target = database.target()
    versions: tuple[str, ...] = ()
    with session_through_fence(database.access(), target.database, purpose="rollback") as connection:
        try:
            report = roll_back_versions(
                connection, target, read_folders(*folders), to=backup.migration_version, listener=_LISTENER
            )
        except SquizzleError as exc:
            return RollbackAttempt(versions=versions, error=exc.message, remaining=())
        versions = tuple(outcome.version for outcome in report.outcomes)
        remaining = assess_damage(connection, backup, schema=target.schema).damage
    return RollbackAttempt(versions=versions, error="", remaining=remaining)


def has_down_scripts(versions: tuple[str, ...], *folders: Path) -> bool:
    """Whether every one of these versions has a down script on disk."""
    with_down = {migration.version for migration in read_folders(*folders) if migration.down_sql is not None}
    return all(version in with_down for version in versions)
