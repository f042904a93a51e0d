"""Is there room for a rehearsal? Asked before anything is restored, where it can be known."""

from __future__ import annotations

import shutil
from pathlib import Path

import psycopg

from squizzle.backups.records import Backup
from squizzle.backups.space import MARGIN, RESERVE_BYTES, restore_need, size_words
from squizzle.backups.store import BackupStore
from squizzle.errors import CouldNotVerifyError
from squizzle.postgres.access import CONTROL_DATABASE, Connection, connect
from squizzle.postgres.scratch_server import ScratchServer

# The base, which stays as it is, and the copy that is worked on.
_COPIES = 2


def refuse_without_room(server: ScratchServer, store: BackupStore, backup: Backup) -> None:
    """Refuse to restore what would fill the disk. Where nobody can tell, the restore has to find out.

    Args:
        server: Where to.
        store: Where from; one that is no folder needs room for the files, too.
        backup: What.

    Raises:
        CouldNotVerifyError: With the figures; nothing was made.
    """
    data = _data_folder(server)
    if data is None:
        return
    need = restore_need(backup)
    if need is None:
        wanted, basis = backup.size_bytes, "its files; the manifest does not say how big the database was"
    else:
        wanted, basis = _COPIES * need.need_bytes, f"{need.basis}, twice: one copy stays as it is"
    _refuse(f"a rehearsal on backup {backup.id}", wanted + _fetched_bytes(store, backup, data), basis, data)


def refuse_without_copy_room(server: ScratchServer, control: Connection, database: str) -> None:
    """Refuse to copy what would fill the disk: a server that cannot write its log ends.

    Raises:
        CouldNotVerifyError: With the figures; nothing was copied.
    """
    data = _data_folder(server)
    if data is None:
        return
    row = control.execute("SELECT pg_database_size(%s)", (database,)).fetchone()
    _refuse("another copy to work on", int(row[0]) if row else 0, "as much as the restored database has", data)


def _refuse(what: str, need: int, basis: str, data: Path) -> None:
    free, wanted = shutil.disk_usage(data).free, round(need * MARGIN) + RESERVE_BYTES
    if free < wanted:
        raise CouldNotVerifyError(
            f"{what} needs about {size_words(need)} ({basis}); with a fifth more and {size_words(RESERVE_BYTES)} for"
            f" others that is {size_words(wanted)}, but {size_words(free)} are free in {data}",
            hint="free space there, or name a server with more; where one of our own is started, TMPDIR says where",
        )


def _fetched_bytes(store: BackupStore, backup: Backup, data: Path) -> int:
    """What the backup's files take on the same disk; another disk is looked at when they are fetched."""
    work = store.work_folder
    if work is None or not work.exists() or work.stat().st_dev != data.stat().st_dev:
        return 0
    return backup.size_bytes * store.work_copies


def _data_folder(server: ScratchServer) -> Path | None:
    """The data folder of a server on this machine; None where it is another machine's or may not be known."""
    if not server.access.host.startswith("/"):
        return None
    with connect(server.access, CONTROL_DATABASE, purpose="rehearsal") as control:
        try:
            row = control.execute("SHOW data_directory").fetchone()
        except psycopg.errors.InsufficientPrivilege:
            return None
    folder = Path(row[0]) if row else None
    try:
        return folder if folder is not None and folder.exists() else None
    except OSError:  # not even its name may be looked at
        return None
