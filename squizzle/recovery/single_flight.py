"""One recovery of a database at a time, and nothing left of those that were killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from squizzle.errors import LockTimeoutError
from squizzle.postgres.access import Connection, ServerAccess
from squizzle.postgres.translation import translate_error
from squizzle.recovery.fence import control_session
from squizzle.recovery.restore import drop_unfinished

# "SQZR" in ASCII: a recovery of the database whose name has this hash.
_LOCK_CLASS = 0x53515A52
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
        if not _try_lock(control, database):
            raise LockTimeoutError(
                f"{database} is being recovered already",
                hint="wait until it ends; `SELECT * FROM pg_stat_activity WHERE application_name = 'squizzle recovery"
                " lock'` shows whose session it is",
            )
        yield drop_unfinished(control, f"{database}__r_")


def _try_lock(control: Connection, database: str) -> bool:
    try:
        row: tuple[bool] | None = control.execute(_LOCK, (_LOCK_CLASS, database)).fetchone()
    except psycopg.Error as exc:
        raise translate_error(exc, doing=f"take the recovery lock of {database}") from exc
    return row == (True,)
