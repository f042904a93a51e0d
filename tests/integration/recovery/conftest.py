"""Backup and restore in one step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from squizzle.backups.dump import take_dump
from squizzle.backups.folder_store import FolderStore
from squizzle.backups.records import Backup
from squizzle.postgres.access import Connection, ServerAccess
from squizzle.postgres.database_properties import read_properties
from squizzle.postgres.programs import ClientPrograms
from squizzle.recovery.restore import restore_beside

Take = Callable[[str], Backup]
Restore = Callable[..., None]


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


@pytest.fixture
def take(access: ServerAccess, programs: ClientPrograms, store: FolderStore) -> Take:
    """Take a backup of a database."""
    return lambda database: take_dump(access, database, store, programs, backup_id="b1")


@pytest.fixture
def restore(access: ServerAccess, control: Connection, programs: ClientPrograms, store: FolderStore) -> Restore:
    """Restore a backup under a name."""

    def start(backup: Backup, into: str, *, like: str | None = None, control: Connection = control) -> None:
        properties = read_properties(control, like or backup.database)
        folder = store.path_of(backup)
        restore_beside(access, control, backup, folder, programs=programs, into=into, like=properties)

    return start
