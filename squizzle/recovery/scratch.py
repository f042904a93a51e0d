"""Databases and roles that a drill or a rehearsal makes for itself, and how they are found again after it was killed.

Everything has the run's id in its name, and the run holds an advisory lock in the maintenance database for as long as
it lives. A name whose lock is free was left by a run that died, and may go.
"""

from __future__ import annotations

import re
import secrets
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psycopg
from psycopg import sql

from squizzle.errors import DatabaseError, RefusedError
from squizzle.postgres.access import Connection
from squizzle.postgres.translation import server_words, translate_error
from squizzle.recovery.new_database import drop_database

PREFIX = "squizzle_drill_"
_NAME = re.compile(rf"{PREFIX}([0-9a-f]{{8}})(?:_.*)?")
# "SQZD" in ASCII: a drill lives. The second key is the run.
_LOCK_CLASS = 0x53515A44


@dataclass(frozen=True, kw_only=True, slots=True)
class DrillNames:
    """What one run calls its things.

    Attributes:
        database: The database that disaster strikes.
        restored: The copy restored beside it.
        kept: The damaged one after the switch-over.
        owner: Role that owns the database.
        application: Role that the application would use.
        client: Account that the application would log in with.
    """

    database: str
    restored: str
    kept: str
    owner: str
    application: str
    client: str


def drill_names(run_id: str) -> DrillNames:
    """The names of a run; the id has eight hexadecimal digits."""
    base = f"{PREFIX}{run_id}"
    return DrillNames(
        database=base,
        restored=f"{base}__restored",
        kept=f"{base}__old",
        owner=f"{base}_owner",
        application=f"{base}_application",
        client=f"{base}_client",
    )


def run_database(run_id: str, tag: str) -> str:
    """The name of one more database of a run; whatever begins with it is the run's, too."""
    return f"{PREFIX}{run_id}__{tag}"


@contextmanager
def living_run(control: Connection, run_id: str) -> Iterator[None]:
    """Hold the run's lock with this session, so that nobody takes its databases for leftovers.

    Raises:
        RefusedError: A run with this id lives already.
    """
    if not _try_lock(control, run_id):
        raise RefusedError(f"drill {run_id} is running already", hint="wait until it ends")
    try:
        yield
    finally:
        with suppress(psycopg.OperationalError):  # a session that is lost holds no lock
            control.execute("SELECT pg_advisory_unlock(%s, %s)", (_LOCK_CLASS, _lock_key(run_id)))


def _try_lock(control: Connection, run_id: str) -> bool:
    row = control.execute("SELECT pg_try_advisory_lock(%s, %s)", (_LOCK_CLASS, _lock_key(run_id))).fetchone()
    return row == (True,)


def _lock_key(run_id: str) -> int:
    return zlib.crc32(run_id.encode()) & 0x7FFFFFFF


def sweep_dead_runs(control: Connection) -> tuple[str, ...]:
    """Drop what drills left that were killed; living ones are left alone.

    Returns:
        The names of what was dropped.
    """
    names = [*_databases(control), *_roles(control)]
    runs = sorted({run_id for name in names if (run_id := _run_of(name))})
    dead = [run_id for run_id in runs if _try_lock(control, run_id)]
    # Twice: in a copy of one run's database, which is another run's, roles of the first have rights and cannot go.
    for run_id in (*dead, *dead):
        remove_run(control, run_id)
    for run_id in dead:
        control.execute("SELECT pg_advisory_unlock(%s, %s)", (_LOCK_CLASS, _lock_key(run_id)))
    left = {*_databases(control), *_roles(control)}
    return tuple(name for name in names if name not in left)


def is_of_a_drill(name: str) -> bool:
    """Whether a database or role of this name is one of a drill or a rehearsal, and so nobody's. Pure."""
    return _run_of(name) is not None


def is_of_run(name: str, run_id: str) -> bool:
    """Whether a database or role of this name was made by this very run. Pure."""
    return _run_of(name) == run_id


def _run_of(name: str) -> str | None:
    """The run that made it; None for somebody else's, whose name only looks alike."""
    match = _NAME.fullmatch(name)
    return match[1] if match else None


def _databases(control: Connection) -> list[str]:
    rows = control.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", (PREFIX,))
    return [row[0] for row in rows]


def _roles(control: Connection) -> list[str]:
    rows = control.execute("SELECT rolname FROM pg_roles WHERE starts_with(rolname, %s)", (PREFIX,))
    return [row[0] for row in rows]


def make_database(control: Connection, names: DrillNames, *, like: str = "") -> None:
    """Make a database as a careful team would have it: an owner, privileges, settings, a comment.

    They are what a swap of names loses when nobody carries them over, so the drill has some to lose.

    Args:
        control: A session in the maintenance database.
        names: Of the drill.
        like: A database in which nobody is, whose contents it gets; empty for an empty one.

    Raises:
        DatabaseError: The account may not create databases or roles; what was made is swept by the next drill.
    """
    database, owner, application = (sql.Identifier(one) for one in (names.database, names.owner, names.application))
    template = sql.SQL("TEMPLATE {}" if like else "TEMPLATE {} ENCODING 'UTF8'").format(
        sql.Identifier(like or "template0")
    )
    commands = (
        sql.SQL("CREATE ROLE {} NOLOGIN").format(owner),
        sql.SQL("CREATE ROLE {} NOLOGIN").format(application),
        sql.SQL("CREATE DATABASE {} OWNER {} {}").format(database, owner, template),
        sql.SQL("REVOKE CONNECT, TEMPORARY ON DATABASE {} FROM PUBLIC").format(database),
        sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, application),
        sql.SQL("ALTER DATABASE {} CONNECTION LIMIT 90").format(database),
        sql.SQL("ALTER DATABASE {} SET work_mem = '8MB'").format(database),
        sql.SQL('ALTER DATABASE {} SET search_path = "$user", public').format(database),
        sql.SQL("ALTER ROLE {} IN DATABASE {} SET statement_timeout = '30s'").format(application, database),
        sql.SQL("COMMENT ON DATABASE {} IS 'For a disaster drill. Not production.'").format(database),
    )
    try:
        for command in commands:
            control.execute(command)
    except psycopg.Error as exc:
        raise translate_error(exc, doing=f"make the drill's database {names.database}") from exc


def let_application_in(connection: Connection, names: DrillNames, *, schema: str = "public") -> None:
    """Give the application's role what an application has, of whatever is there and is made later.

    Args:
        connection: A session in the drill's database.
        names: Of the drill.
        schema: Where the application works.
    """
    role, where = sql.Identifier(names.application), sql.Identifier(schema)
    for command in (
        "GRANT USAGE ON SCHEMA {} TO {}",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {} TO {}",
        "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {} TO {}",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA {} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {}",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA {} GRANT USAGE, SELECT ON SEQUENCES TO {}",
    ):
        connection.execute(sql.SQL(command).format(where, role))


def make_client(control: Connection, names: DrillNames) -> tuple[str, str]:
    """Make an account that logs in and has the rights of the application's role; returns its name and password.

    The server gets the password as it stores it, so that no log has it.

    Raises:
        DatabaseError: The account may not create roles.
    """
    password = secrets.token_urlsafe(24)
    stored = control.pgconn.encrypt_password(password.encode(), names.client.encode(), b"scram-sha-256").decode()
    client, application = sql.Identifier(names.client), sql.Identifier(names.application)
    try:
        control.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(client, sql.Literal(stored)))
        control.execute(sql.SQL("GRANT {} TO {}").format(application, client))
    except psycopg.Error as exc:
        raise translate_error(exc, doing=f"make the account {names.client}") from exc
    return names.client, password


def remove_run(control: Connection, run_id: str) -> tuple[str, ...]:
    """Drop everything with this run's id in its name. Safe to repeat.

    Returns:
        What could not be dropped, and why.
    """
    left: list[str] = []
    for database in _databases(control):
        if _run_of(database) == run_id:
            try:
                drop_database(control, database)
            except DatabaseError as exc:
                left.append(exc.message)
    for role in _roles(control):
        if _run_of(role) == run_id:
            try:
                control.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))
            except psycopg.Error as exc:
                left.append(f"role {role}: {server_words(exc)}")
    return tuple(left)
