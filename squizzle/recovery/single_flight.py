"""One recovery of a database at a time, and nothing left of those that were killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from squizzle.errors import LockTimeoutError
from squizzle.postgres.access import Connection, ServerAccess
from squizzle.postgres.translation import translate_error
from squizzle.recovery.fence import control_session
from squizzle.recovery.new_database import drop_unfinished

# "SQZR" in ASCII: a recovery of the database whose name has this hash.
_RECOVERY = 0x53515A52
# "SQZC": a copy of it is made.
_COPYING = 0x53515A43
_WAIT = (
    "wait until it ends; `SELECT a.* FROM pg_stat_activity a JOIN pg_locks l USING (pid) WHERE l.locktype = 'advisory'"
    " AND l.classid = {}` shows whose session it is"
)
_LOCK = "SELECT pg_try_advisory_lock(%s, hashtext(%s))"


@contextmanager
def recovering_alone(access: ServerAccess, database: str) -> Iterator[tuple[str, ...]]:
    """Hold the database's recovery lock; it is a session's, and ends with us however we end.

    Yields:
        Half-restored databases of recoveries that were killed: they were dropped.

    Raises:
        LockTimeoutError: Another recovery of this database runs; nothing was changed.
    """
    with control_session(access, purpose="recovery lock") as control:
        lock_recovery(control, database)
        yield drop_unfinished(control, f"{database}__r_")


def lock_recovery(control: Connection, database: str) -> None:
    """Be the only one who recovers or restores a database of this name, until the session ends.

    Raises:
        LockTimeoutError: Somebody else is at it; nothing was changed.
    """
    if not _try_lock(control, _RECOVERY, database):
        raise LockTimeoutError(f"{database} is being recovered or restored already", hint=_WAIT.format(_RECOVERY))


def lock_copying(control: Connection, database: str) -> None:
    """Be the only one who copies a database, until the session ends.

    Raises:
        LockTimeoutError: Somebody else is at it; nothing was changed.
    """
    if not _try_lock(control, _COPYING, database):
        raise LockTimeoutError(f"{database} is being copied already", hint=_WAIT.format(_COPYING))


def _try_lock(control: Connection, kind: int, database: str) -> bool:
    try:
        row: tuple[bool] | None = control.execute(_LOCK, (kind, database)).fetchone()
    except psycopg.Error as exc:
        raise translate_error(exc, doing=f"take the recovery lock of {database}") from exc
    return row == (True,)
