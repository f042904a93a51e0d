"""Is there room for a rehearsal? Asked before anything is restored, where it can be known."""

from __future__ import annotations

import shutil
from pathlib import Path

import psycopg

from squizzle.backups.records import Backup
from squizzle.backups.space import MARGIN, RESERVE_BYTES, restore_need, size_words
from squizzle.backups.store import BackupStore
from squizzle.errors import CouldNotVerifyError
from squizzle.postgres.access import connect
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
    need, data = restore_need(backup), _data_folder(server)
    if need is None or data is None:
        return
    wanted = _COPIES * need.need_bytes + _fetched_bytes(store, backup, data)
    free = shutil.disk_usage(data).free
    if free < wanted * MARGIN + RESERVE_BYTES:
        raise CouldNotVerifyError(
            f"a rehearsal on backup {backup.id} needs about {size_words(wanted)} ({need.basis}, twice: one copy stays"
            f" as it is); with a fifth more and {size_words(RESERVE_BYTES)} for others that is"
            f" {size_words(wanted * MARGIN + RESERVE_BYTES)}, but {size_words(free)} are free in {data}",
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
    with connect(server.access, "postgres", purpose="rehearsal") as control:
        try:
            row = control.execute("SHOW data_directory").fetchone()
        except psycopg.errors.InsufficientPrivilege:
            return None
    folder = Path(row[0]) if row else None
    try:
        return folder if folder is not None and folder.exists() else None
    except OSError:  # not even its name may be looked at
        return None
