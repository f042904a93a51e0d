"""What a database needs around it and a dump does not hold: its own properties, and the roles that it speaks of."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg

from squizzle.errors import BackupDamagedError
from squizzle.postgres.access import CONTROL_DATABASE, Connection, ServerAccess
from squizzle.postgres.client_run import run_client
from squizzle.postgres.database_properties import DatabaseProperties, Grant, Setting, read_properties
from squizzle.postgres.programs import ClientPrograms
from squizzle.postgres.translation import translate_error

SURROUNDINGS_FILE = "database.json"
GLOBALS_FILE = "globals.sql"
DATABASES_FILE = "databases.json"
PASSWORDS = "passwords of roles"
"""Begins what a backup says of itself that does not hold them."""
WITHOUT_PASSWORDS = f"{PASSWORDS}: this account may not read them, so restored roles have none"

# Roles that come with every server need not be made anywhere.
_ROLES = """
    SELECT r.rolname FROM pg_roles r
    WHERE r.rolname NOT LIKE 'pg\\_%' AND (
        r.oid IN (
            SELECT d.refobjid FROM pg_shdepend d JOIN pg_database b ON b.datname = current_database()
            WHERE d.refclassid = 'pg_authid'::regclass
              AND (d.dbid = b.oid OR (d.dbid = 0 AND d.classid = 'pg_database'::regclass AND d.objid = b.oid)))
        OR r.oid = (SELECT datdba FROM pg_database WHERE datname = current_database())
        OR r.oid IN (SELECT s.setrole FROM pg_db_role_setting s
                     JOIN pg_database b ON b.oid = s.setdatabase WHERE b.datname = current_database()))
    ORDER BY 1
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """What belongs to a database without being in it.

    Attributes:
        properties: Owner, privileges, settings, comment, encoding, locale.
        roles: Every role that owns something in it, has a privilege on something, or has settings for it; those that
            come with every server (`pg_…`) are left out.
    """

    properties: DatabaseProperties
    roles: tuple[str, ...]


def read_surroundings(connection: Connection, database: str) -> Surroundings:
    """Ask the server. Nothing is changed.

    Args:
        connection: A session in the database.
        database: Its name.

    Raises:
        DatabaseError: The session was lost.
    """
    try:
        roles = tuple(row[0] for row in connection.execute(_ROLES))
    except psycopg.Error as exc:
        raise translate_error(exc, doing=f"read the roles that {database} speaks of") from exc
    return Surroundings(properties=read_properties(connection, database), roles=roles)


def write_surroundings(found: Surroundings, folder: Path) -> None:
    """Write them as a file of a backup."""
    document = {"format_version": 1, "properties": asdict(found.properties), "roles": list(found.roles)}
    path = folder / SURROUNDINGS_FILE
    path.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def write_properties(found: Mapping[str, DatabaseProperties], folder: Path) -> None:
    """Write the properties of several databases, by name, as a file of a backup."""
    document = {"format_version": 1, "databases": {name: asdict(one) for name, one in found.items()}}
    path = folder / DATABASES_FILE
    path.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def saved_properties(folder: Path) -> dict[str, DatabaseProperties]:
    """The properties of the databases that a backup of the globals speaks of.

    Raises:
        BackupDamagedError: The file is not one of ours.
    """
    path = folder / DATABASES_FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return {name: _properties(one) for name, one in document["databases"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise BackupDamagedError(
            f"{path} does not say what the databases need: {type(exc).__name__}", hint="use another backup"
        ) from exc


def saved_surroundings(folder: Path) -> Surroundings | None:
    """What a backup says about its database's surroundings; None when it was made before they were saved.

    Args:
        folder: The backup's files, checked.

    Raises:
        BackupDamagedError: The file is not one of ours.
    """
    path = folder / SURROUNDINGS_FILE
    if not path.exists():
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return Surroundings(properties=_properties(document["properties"]), roles=tuple(document["roles"]))
    except (ValueError, KeyError, TypeError) as exc:
        raise BackupDamagedError(
            f"{path} does not say what the database needs: {type(exc).__name__}", hint="use another backup"
        ) from exc


def _properties(document: Mapping[str, Any]) -> DatabaseProperties:
    grants = document["grants"]
    return DatabaseProperties(
        **{
            **document,
            "grants": None if grants is None else tuple(Grant(**one) for one in grants),
            "settings": tuple(Setting(**one) for one in document["settings"]),
        }
    )


def dump_globals(
    access: ServerAccess,
    connection: Connection,
    folder: Path,
    programs: ClientPrograms,
    *,
    timeout: timedelta,
    role_passwords: bool = True,
    on_wait: Callable[[], None] = lambda: None,
) -> tuple[str, ...]:
    """Write roles, memberships, their settings, and tablespaces into `globals.sql`, readable for us alone.

    Args:
        access: Server and account.
        connection: A session on that server.
        folder: Where to.
        programs: pg_dumpall of the server's major version or newer.
        timeout: After that it counts as failed.
        role_passwords: Whether the hashes of passwords are wanted.
        on_wait: Called a few times a second while it runs.

    Returns:
        What it does not hold, one clause each.

    Raises:
        ToolError: pg_dumpall failed or took too long.
    """
    may_read = connection.execute("SELECT has_table_privilege('pg_catalog.pg_authid', 'SELECT')").fetchone() == (True,)
    arguments = [
        "--globals-only",
        f"--file={folder / GLOBALS_FILE}",
        "--no-password",
        f"--database={CONTROL_DATABASE}",
    ]
    with_passwords = may_read and role_passwords
    if not with_passwords:
        arguments.append("--no-role-passwords")
    (folder / GLOBALS_FILE).touch(mode=0o600)
    run_client(
        programs.path("pg_dumpall"),
        arguments,
        access=access,
        database=CONTROL_DATABASE,
        doing="save roles and tablespaces",
        timeout=timeout,
        on_wait=on_wait,
    )
    if with_passwords:
        return ()
    return (WITHOUT_PASSWORDS if role_passwords else f"{PASSWORDS}: left out on request",)


def commands_for(roles: tuple[str, ...], globals_sql: str) -> tuple[str, ...]:
    """The lines of `globals.sql` that make these roles, for a person to run; passwords are left out.

    Args:
        roles: Their names.
        globals_sql: What pg_dumpall wrote: one `CREATE ROLE name;` a line.
    """
    wanted = {name for role in roles for name in (role, '"' + role.replace('"', '""') + '"')}
    lines = (line.strip() for line in globals_sql.splitlines())
    return tuple(
        line
        for line in lines
        if line.startswith("CREATE ROLE ") and line.removeprefix("CREATE ROLE ").removesuffix(";") in wanted
    )
