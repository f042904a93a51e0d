"""Where alerts and silences are kept between two looks: in the control database of their fleet."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from squizzle.alerts.states import AlertState, Silence
from squizzle.errors import InvalidInputError, LockTimeoutError
from squizzle.postgres.access import Connection
from squizzle.postgres.own_scripts import OwnTables
from squizzle.postgres.own_tables import ensure_tables, find_tables
from squizzle.postgres.translation import translate_error
from squizzle.severity import Severity

# The advisory lock "this fleet is being looked at": "SQZH" in ASCII, and a hash of the fleet's name.
_LOCK = 0x53515A48
ALERT_TABLES = OwnTables(package="squizzle.alerts", script="alert_table")
_NEEDS = "CREATE on the database; or where squizzle.alert is there already, SELECT, INSERT, UPDATE, DELETE on it"


def prepare(connection: Connection, fleet: str) -> datetime:
    """Make the tables where they are missing, and take the lock of the fleet for this session; gives the server's time.

    Raises:
        LockTimeoutError: Somebody else looks at the fleet now.
        DatabaseError: The tables cannot be made.
    """
    make_tables(connection)
    try:
        row = connection.execute(
            "SELECT pg_try_advisory_lock(%s, hashtext(%s)), clock_timestamp()", (_LOCK, fleet)
        ).fetchone()
    except psycopg.Error as exc:
        raise translate_error(exc, doing="open the alerts", needs=_NEEDS) from exc
    if row is None or not row[0]:
        raise LockTimeoutError(
            f"somebody else looks at {fleet} now", hint="wait for that run; a sweep that is under way tells people, too"
        )
    now: datetime = row[1]
    return now


def make_tables(connection: Connection) -> None:
    """Make the tables where they are missing, or bring them up to date.

    Raises:
        RefusedError: A newer Squizzle made them, and this one knows too little.
        LockTimeoutError, DatabaseError: They cannot be made.
    """
    ensure_tables(connection, ALERT_TABLES)


def read_states(connection: Connection, fleet: str) -> tuple[AlertState, ...]:
    """The states as the last look left them; nothing where there was none. Nothing is changed.

    Raises:
        DatabaseError: No right to read them, or the session was lost.
    """
    try:
        if find_tables(connection, ALERT_TABLES) is None:
            return ()
        with connection.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(
                "SELECT target, rule, severity, notify, since, last_not_false, fires_since, unknown, key, is_told,"
                " threads, detail FROM squizzle.alert WHERE fleet = %s ORDER BY target, rule",
                (fleet,),
            ).fetchall()
    except psycopg.Error as exc:
        raise translate_error(exc, doing="read the alerts", needs=_NEEDS) from exc
    return tuple(
        AlertState(**row | {"severity": Severity(row["severity"]), "notify": tuple(row["notify"])}) for row in rows
    )


def write_states(connection: Connection, fleet: str, before: Iterable[AlertState], after: Iterable[AlertState]) -> None:
    """Keep what changed, all of it or nothing.

    Raises:
        DatabaseError: It cannot be written; the next look begins where this one did.
    """
    old, new = ({one.name: one for one in states} for states in (before, after))
    gone = [name for name in old if name not in new]
    changed = [one for name, one in new.items() if old.get(name) != one]
    try:
        with connection.transaction(), connection.cursor() as cursor:
            if gone:
                cursor.executemany(
                    "DELETE FROM squizzle.alert WHERE fleet = %s AND target = %s AND rule = %s",
                    [(fleet, *name) for name in gone],
                )
            if changed:
                cursor.executemany(_UPSERT, [_row(fleet, one) for one in changed])
    except psycopg.Error as exc:
        raise translate_error(exc, doing="keep the alerts", needs=_NEEDS) from exc


_UPSERT = """
    INSERT INTO squizzle.alert (fleet, target, rule, severity, notify, since, last_not_false, fires_since, unknown, key,
                                is_told, threads, detail)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (fleet, target, rule) DO UPDATE SET
        severity = excluded.severity, notify = excluded.notify, since = excluded.since,
        last_not_false = excluded.last_not_false, fires_since = excluded.fires_since, unknown = excluded.unknown,
        key = excluded.key, is_told = excluded.is_told, threads = excluded.threads, detail = excluded.detail
"""


def _row(fleet: str, one: AlertState) -> tuple[object, ...]:
    return (
        fleet,
        one.target,
        one.rule,
        one.severity.value,
        list(one.notify),
        one.since,
        one.last_not_false,
        one.fires_since,
        one.unknown,
        one.key,
        one.is_told,
        Jsonb(dict(one.threads)),
        one.detail,
    )


def note_told(connection: Connection, fleet: str, key: str, threads: Mapping[str, str]) -> None:
    """Keep that people were told of everything of a key.

    Raises:
        DatabaseError: It cannot be written; people are told again by the next look.
    """
    try:
        connection.execute(
            "UPDATE squizzle.alert SET is_told = true, threads = %s WHERE fleet = %s AND key = %s",
            (Jsonb(dict(threads)), fleet, key),
        )
    except psycopg.Error as exc:
        raise translate_error(exc, doing="keep that people were told", needs=_NEEDS) from exc


# --- silences ------------------------------------------------------------------------------------------------------


def read_silences(connection: Connection, fleet: str) -> tuple[Silence, ...]:
    """Those that have not ended. Nothing is changed.

    Raises:
        DatabaseError: No right to read them, or the session was lost.
    """
    try:
        if find_tables(connection, ALERT_TABLES) is None:
            return ()
        rows = connection.execute(
            "SELECT id, rule, target, until, reason, by FROM squizzle.silence"
            " WHERE fleet = %s AND ended_at IS NULL AND until > clock_timestamp() ORDER BY until, id",
            (fleet,),
        ).fetchall()
    except psycopg.Error as exc:
        raise translate_error(exc, doing="read the silences", needs=_NEEDS) from exc
    return tuple(
        Silence(id=one, rule=rule, target=target, until=until, reason=reason, by=by)
        for one, rule, target, until, reason, by in rows
    )


def add_silence(
    connection: Connection, fleet: str, *, rule: str, target: str, length: timedelta, reason: str, by: str
) -> Silence:
    """Tell nobody of these for so long, by the server's clock. The caller made the tables (`prepare`).

    Args:
        connection: To the control database.
        fleet: The fleet's name.
        rule: Which rules; `*` stands for anything.
        target: Which targets, likewise.
        length: For how long.
        reason: Why; it is shown wherever something is silenced.
        by: Who says so.

    Raises:
        InvalidInputError: No reason, or no time.
        DatabaseError: It cannot be written.
    """
    if not reason.strip() or not by.strip():
        raise InvalidInputError("a silence needs a reason and a name", hint="say why, and who you are")
    if length <= timedelta():
        raise InvalidInputError("a silence has to end later than it begins", hint="say for how long, such as 2h")
    one = f"silence-{secrets.token_hex(4)}"
    try:
        row = connection.execute(
            "INSERT INTO squizzle.silence (id, fleet, rule, target, until, reason, by)"
            " VALUES (%s, %s, %s, %s, clock_timestamp() + %s, %s, %s) RETURNING until",
            (one, fleet, rule, target, length, reason, by),
        ).fetchone()
    except psycopg.Error as exc:
        raise translate_error(exc, doing="keep a silence", needs=_NEEDS) from exc
    if row is None:
        raise AssertionError("a row is gone that was just written")
    return Silence(id=one, rule=rule, target=target, until=row[0], reason=reason, by=by)


def end_silence(connection: Connection, fleet: str, silence: str, *, by: str) -> None:
    """End one before its time.

    Raises:
        InvalidInputError: There is no such silence, or it has ended.
        DatabaseError: It cannot be written.
    """
    try:
        done = connection.execute(
            "UPDATE squizzle.silence SET ended_at = clock_timestamp(), ended_by = %s"
            " WHERE fleet = %s AND id = %s AND ended_at IS NULL AND until > clock_timestamp()",
            (by, fleet, silence),
        ).rowcount
    except psycopg.Error as exc:
        raise translate_error(exc, doing="end a silence", needs=_NEEDS) from exc
    if not done:
        raise InvalidInputError(f"there is no silence {silence} in {fleet}", hint="`squizzle silences` lists them")
