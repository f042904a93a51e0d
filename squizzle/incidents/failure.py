"""What failed in a database, and why nobody may take it back by himself. Nothing is changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg
from psycopg import sql

from squizzle.alerts.states import Silence
from squizzle.durations import words
from squizzle.migrations.history import History, history_table, read_history
from squizzle.migrations.records import Direction, HistoryRow, RowState
from squizzle.migrations.session import lock_holder
from squizzle.postgres.access import Connection
from squizzle.postgres.identity import Target, check_identity, read_identity
from squizzle.postgres.sql_files import load_sql
from squizzle.postgres.translation import translate_error

HANDS_OFF = "hands off"
"""As the name of a rule, a silence of it keeps recoveries on their own away from targets."""
RECENT = timedelta(minutes=15)
"""A person who did nothing for longer is not at work."""
_ENDED = "SELECT applied_at + coalesce(duration_ms, 0) * interval '1 ms', clock_timestamp() FROM {} WHERE id = %s"


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A migration that failed in one database.

    Attributes:
        version: Which.
        began_at: When its run began, by the server's clock.
        age: How long ago it failed.
        error: What it said.
        is_begun: Whether it left something; else the server took back all of it.
        digest_before: The schema's digest before it; empty where none is known.
        certificate: By which certificate it came; empty for none.
        why_not_now: Who is at work there; empty for nobody.
        why_never: Why only a person can decide what to do; empty where nobody has to.
    """

    version: str
    began_at: datetime
    age: timedelta
    error: str = ""
    is_begun: bool = False
    digest_before: str = ""
    certificate: str = ""
    why_not_now: str = ""
    why_never: str = ""


def look_for_failure(connection: Connection, target: Target, *, window: timedelta) -> Failure | None:
    """The migration that failed, else one whose run has not ended; None where there is neither.

    Args:
        connection: A session in the database.
        target: The database, and who the caller means by it.
        window: What failed longer ago is a person's.

    Raises:
        IdentityMismatchError: Another database than was meant.
        DatabaseError: It cannot be read, or the session was lost.
    """
    check_identity(read_identity(connection), target.expected, database=target.database)
    history = read_history(connection, target.schema)
    # A recovery that was killed in its down script leaves a run that has not ended.
    found = history.in_state(RowState.FAILED) or history.in_state(RowState.RUNNING)
    row = max(found, key=lambda one: one.id, default=None)
    if row is None:
        return None
    try:
        ended, now = connection.execute(sql.SQL(_ENDED).format(history_table(target.schema)), (row.id,)).fetchone() or (
            row.applied_at,
            row.applied_at,
        )
        at_work = _at_work(connection)
    except psycopg.Error as exc:
        raise translate_error(exc, doing="see who is at work") from exc
    age = now - ended
    old = f"it failed {words(age)} ago, which is longer than {words(window)}" if age > window else ""
    return Failure(
        version=row.version,
        began_at=row.applied_at,
        age=age,
        error=row.error or "",
        is_begun=row.version in history.half_done(),
        digest_before=history.schema_digest or "",
        certificate=row.certificate or "",
        why_not_now=at_work,
        why_never=why_never(history, row) or old,
    )


def why_never(history: History, row: HistoryRow) -> str:
    """Why only a person can decide about a version that failed; empty where nobody has to. Pure."""
    if row.direction is Direction.ROLLBACK and row.success is False:
        return f"taking back {row.version} failed before"
    others = [one.version for one in history.in_state(RowState.FAILED) if one.version != row.version]
    if others:
        return f"{', '.join(others)} failed, too"
    unended = [one.version for state in (RowState.RUNNING, RowState.PARTLY) for one in history.in_state(state)]
    if unended:
        return f"the run of {', '.join(unended)} has not ended, or its process died"
    if row.version in history.applied():
        return f"{row.version} was applied before, and failed when it was applied again"
    return ""


def _at_work(connection: Connection) -> str:
    holder = lock_holder(connection)
    if holder:
        return f"it is being migrated: {holder}"
    people = connection.execute(load_sql("squizzle.incidents", "people"), {"recent": RECENT}).fetchall()
    shown = ", ".join(f"session {pid} ({application}) of {user}" for pid, application, user in people[:3])
    return f"somebody is at work there: {shown}" if people else ""


def hands_off(silences: Iterable[Silence], target: str, now: datetime) -> str:
    """Who keeps recoveries on their own away from a target, until when and why; empty for nobody. Pure."""
    for one in silences:
        if one.rule == HANDS_OFF and one.holds_for(target, now):
            return f"hands off until {one.until:%Y-%m-%d %H:%M %Z}, says {one.by}: {one.reason}"
    return ""
