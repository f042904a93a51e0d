"""The last sweep of each fleet, kept in its control database beside the alerts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg
from psycopg.rows import dict_row

from squizzle.alerts.ledger import ALERT_TABLES
from squizzle.postgres.access import Connection
from squizzle.postgres.own_scripts import OwnTables
from squizzle.postgres.own_tables import ensure_tables, find_tables
from squizzle.postgres.translation import translate_error
from squizzle.severity import Severity
from squizzle.sweep.records import Sweep

_TABLES = OwnTables(package="squizzle.sweep", script="sweep_table")
_NEEDS = "CREATE on the database; or where squizzle.sweep is there already, SELECT, INSERT, UPDATE on it"


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepNote:
    """What the last sweep of a fleet found, in numbers.

    Attributes:
        at: When its alerts were kept, by the control database's clock.
        duration: How long it took.
        healthy: Targets that are well.
        unhealthy: Targets that answered, and are not well or could not be found out.
        unreachable: Targets that did not answer.
        servers_unreachable: Servers that could not be asked which targets they have.
        pending: Migrations that targets lack, of all together; None where that was not asked.
        failed: Versions whose newest run failed, of all targets together.
    """

    at: datetime
    duration: timedelta
    healthy: int
    unhealthy: int
    unreachable: int
    servers_unreachable: int
    pending: int | None
    failed: int


def note_of(sweep: Sweep, at: datetime) -> SweepNote:
    """A sweep in numbers."""
    reached = [one for one in sweep.targets if one.is_reached]
    healthy = sum(one.is_ok for one in reached)
    lacking = [one.metrics["pending_migrations"] or 0 for one in reached if "pending_migrations" in one.metrics]
    return SweepNote(
        at=at,
        duration=sweep.duration,
        healthy=healthy,
        unhealthy=len(reached) - healthy,
        unreachable=len(sweep.targets) - len(reached),
        servers_unreachable=len(sweep.unreachable),
        pending=round(sum(lacking)) if lacking else None,
        failed=sum(len(one.failed) for one in reached),
    )


def write_note(connection: Connection, fleet: str, note: SweepNote) -> None:
    """Keep it in the place of the one before; makes the table where it is missing.

    Raises:
        DatabaseError: It cannot be written; the one before stands.
    """
    try:
        with connection.transaction():
            ensure_tables(connection, _TABLES)
            connection.execute(
                "INSERT INTO squizzle.sweep (fleet, at, duration, healthy, unhealthy, unreachable, servers_unreachable,"
                " pending, failed) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)"
                " ON CONFLICT (fleet) DO UPDATE SET at = excluded.at, duration = excluded.duration,"
                " healthy = excluded.healthy, unhealthy = excluded.unhealthy, unreachable = excluded.unreachable,"
                " servers_unreachable = excluded.servers_unreachable, pending = excluded.pending,"
                " failed = excluded.failed",
                (
                    fleet,
                    note.at,
                    note.duration,
                    note.healthy,
                    note.unhealthy,
                    note.unreachable,
                    note.servers_unreachable,
                    note.pending,
                    note.failed,
                ),
            )
    except psycopg.Error as exc:
        raise translate_error(exc, doing="note the sweep", needs=_NEEDS) from exc


def read_note(connection: Connection, fleet: str) -> SweepNote | None:
    """The last sweep; None where there was none. Nothing is changed.

    Raises:
        DatabaseError: No right to read it, or the session was lost.
    """
    try:
        if find_tables(connection, _TABLES) is None:
            return None
        with connection.cursor(row_factory=dict_row) as cursor:
            row = cursor.execute(
                "SELECT at, duration, healthy, unhealthy, unreachable, servers_unreachable, pending, failed"
                " FROM squizzle.sweep WHERE fleet = %s",
                (fleet,),
            ).fetchone()
    except psycopg.Error as exc:
        raise translate_error(exc, doing="read the last sweep", needs=_NEEDS) from exc
    return SweepNote(**row) if row else None


def count_firing(connection: Connection, fleet: str) -> Mapping[Severity, int]:
    """How many alerts fire, of each severity; silenced ones count. Nothing is changed.

    Raises:
        DatabaseError: No right to read them, or the session was lost.
    """
    counts = dict.fromkeys(Severity, 0)
    try:
        if find_tables(connection, ALERT_TABLES) is None:
            return counts
        rows = connection.execute(
            "SELECT severity, count(*) FROM squizzle.alert WHERE fleet = %s AND fires_since IS NOT NULL"
            " GROUP BY severity",
            (fleet,),
        ).fetchall()
    except psycopg.Error as exc:
        raise translate_error(exc, doing="count the alerts", needs=_NEEDS) from exc
    return counts | {Severity(severity): count for severity, count in rows}
