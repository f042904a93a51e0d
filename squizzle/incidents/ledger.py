"""Where incidents are kept: in the control database of their fleet, beside its alerts."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from squizzle.errors import InvalidInputError
from squizzle.incidents.records import EventKind, Incident, IncidentChange, IncidentEvent
from squizzle.postgres.access import Connection
from squizzle.postgres.own_scripts import OwnTables
from squizzle.postgres.own_tables import ensure_tables, find_tables
from squizzle.postgres.translation import translate_error

_TABLES = OwnTables(package="squizzle.incidents", script="incident_table")
_NEEDS = "CREATE on the database; or where squizzle.incident is there already, SELECT, INSERT and UPDATE on it"
_COLUMNS = "id, fleet, target, opened_at, cause, attempted_at, closed_at, closed_by, is_told, threads, told_as"
_EVENT = "INSERT INTO squizzle.incident_event (incident, kind, text, by) VALUES (%s, %s, %s, %s)"
MOST_LISTED = 100


@contextmanager
def _doing(what: str) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as exc:
        raise translate_error(exc, doing=what, needs=_NEEDS) from exc


def make_tables(connection: Connection) -> None:
    """Make the tables where they are missing, or bring them up to date.

    Raises:
        RefusedError: A newer Squizzle made them, and this one knows too little.
        LockTimeoutError, DatabaseError: They cannot be made.
    """
    ensure_tables(connection, _TABLES)


def read_open(connection: Connection, fleet: str) -> tuple[Incident, ...]:
    """The incidents of a fleet that are not closed, oldest first; none where there is no table.

    Raises:
        DatabaseError: No right to read them, or the session was lost.
    """
    return _read(connection, "fleet = %s AND closed_at IS NULL ORDER BY opened_at, id", fleet)


def read_incidents(connection: Connection, fleet: str) -> tuple[Incident, ...]:
    """The last incidents of a fleet, newest first, `MOST_LISTED` at the most; none where there is no table.

    Raises:
        DatabaseError: No right to read them, or the session was lost.
    """
    return _read(connection, "fleet = %s ORDER BY opened_at DESC, id LIMIT %s", fleet, MOST_LISTED)


def read_incident(connection: Connection, fleet: str, incident_id: str) -> tuple[Incident, tuple[IncidentEvent, ...]]:
    """One incident, and what happened in it, in order.

    Raises:
        InvalidInputError: There is no such incident of this fleet.
        DatabaseError: No right to read it, or the session was lost.
    """
    found = _read(connection, "fleet = %s AND id = %s", fleet, incident_id)
    if not found:
        raise InvalidInputError(
            f"there is no incident {incident_id!r} of {fleet}", hint=f"`squizzle incidents {fleet}` lists them"
        )
    with _doing("read an incident"):
        rows = connection.execute(
            "SELECT at, kind, text, by FROM squizzle.incident_event WHERE incident = %s ORDER BY id", (incident_id,)
        ).fetchall()
    events = (
        IncidentEvent(at=at.astimezone(UTC), kind=EventKind(kind), text=text, by=by) for at, kind, text, by in rows
    )
    return found[0], tuple(events)


def _read(connection: Connection, condition: LiteralString, *values: str | int) -> tuple[Incident, ...]:
    with _doing("read incidents"):
        found = find_tables(connection, _TABLES)
        if found is None:
            return ()
        query = sql.SQL("SELECT {} FROM {} WHERE {}").format(
            sql.SQL(_COLUMNS), found.source("squizzle.incident", "i"), sql.SQL(condition)
        )
        with connection.cursor(row_factory=dict_row) as cursor:
            return tuple(_incident(row) for row in cursor.execute(query, values))


def _incident(row: Mapping[str, Any]) -> Incident:
    times = {name: row[name].astimezone(UTC) if row[name] else None for name in ("attempted_at", "closed_at")}
    return Incident(**{**row, **times, "opened_at": row["opened_at"].astimezone(UTC)})


def open_incident(connection: Connection, fleet: str, target: str, *, cause: str, by: str) -> Incident:
    """Open an incident of a target, or give the one that is open. The caller made the tables (`make_tables`).

    Args:
        connection: A session in the control database.
        fleet: The fleet's name.
        target: The target's.
        cause: What opens it, in a clause.
        by: Who saw it.

    Raises:
        DatabaseError: It cannot be written.
    """
    with _doing("open an incident"), connection.transaction():
        row = connection.execute(
            "INSERT INTO squizzle.incident (id, fleet, target, cause)"
            " VALUES ('incident-' || to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYYMMDD\"t\"HH24MISS-') || %s,"
            " %s, %s, %s) ON CONFLICT (fleet, target) WHERE closed_at IS NULL DO NOTHING RETURNING id",
            (secrets.token_hex(2), fleet, target, cause),
        ).fetchone()
        if row is not None:
            connection.execute(_EVENT, (row[0], EventKind.OPENED.value, cause, by))
    return next(one for one in read_open(connection, fleet) if one.target == target)


def note_event(connection: Connection, incident: Incident, kind: EventKind, text: str, *, by: str) -> None:
    """Write down what happened.

    Raises:
        DatabaseError: It cannot be written.
    """
    with _doing("write into an incident"):
        connection.execute(_EVENT, (incident.id, kind.value, text, by))


def note_told(connection: Connection, incident: Incident, threads: Mapping[str, str], *, key: str = "") -> None:
    """Keep that people were told that a person has to look, and where that message is, by channel.

    Args:
        connection: A session in the control database.
        incident: Which.
        threads: By channel.
        key: Of the message, where it is one for several incidents.

    Raises:
        DatabaseError: It cannot be written.
    """
    with _doing("write into an incident"):
        connection.execute(
            "UPDATE squizzle.incident SET is_told = true, threads = %s, told_as = %s WHERE id = %s",
            (Jsonb(dict(threads)), key, incident.id),
        )


def claim_attempt(connection: Connection, incident: Incident, *, by: str) -> bool:
    """Say that the one recovery on its own of this incident begins; returns whether it may. It is kept at once.

    A run that is killed afterwards has used it up: whoever comes next does not know what it did, a person does.

    Raises:
        DatabaseError: It cannot be written, so nothing may be done.
    """
    with _doing("write down that a recovery begins"), connection.transaction():
        done = connection.execute(
            "UPDATE squizzle.incident SET attempted_at = clock_timestamp()"
            " WHERE id = %s AND attempted_at IS NULL AND closed_at IS NULL",
            (incident.id,),
        ).rowcount
        if done:
            connection.execute(_EVENT, (incident.id, EventKind.ACTION.value, "a recovery on its own begins", by))
    return bool(done)


def close_incident(connection: Connection, incident: Incident, *, shown_by: str, by: str) -> None:
    """Close an incident; one that is closed stays as it is.

    Args:
        connection: A session in the control database.
        incident: Which.
        shown_by: What shows that the target is well.
        by: Who saw it.

    Raises:
        DatabaseError: It cannot be written.
    """
    with _doing("close an incident"), connection.transaction():
        done = connection.execute(
            "UPDATE squizzle.incident SET closed_at = clock_timestamp(), closed_by = %s"
            " WHERE id = %s AND closed_at IS NULL",
            (shown_by, incident.id),
        ).rowcount
        if done:
            connection.execute(_EVENT, (incident.id, EventKind.CLOSED.value, shown_by, by))


def write_changes(
    connection: Connection, fleet: str, changes: Iterable[IncidentChange], *, by: str
) -> tuple[Incident, ...]:
    """Keep what a sweep means for incidents, all of it or nothing. The caller made the tables (`make_tables`).

    Returns:
        Those that were closed, as they were before.

    Raises:
        DatabaseError: It cannot be written.
    """
    with _doing("keep what happened in incidents"), connection.transaction():
        closed: list[Incident] = []
        known = {one.target: one for one in read_open(connection, fleet)}
        for change in changes:
            incident = known.get(change.target)
            if incident is None and change.opens:
                incident = open_incident(connection, fleet, change.target, cause=change.opens, by=by)
            if incident is None:
                continue
            for kind, text in change.events:
                note_event(connection, incident, kind, text, by=by)
            if change.closes:
                close_incident(connection, incident, shown_by=change.closes, by=by)
                closed.append(incident)
    return tuple(closed)
