"""Bringing back the roles of a cluster: those that are missing, with everything that they had, in one transaction."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psycopg

from squizzle.analysis.statements import split_statements
from squizzle.backups.files import check_files
from squizzle.backups.records import Backup, BackupKind
from squizzle.backups.surroundings import GLOBALS_FILE
from squizzle.errors import InvalidInputError
from squizzle.postgres.access import Connection
from squizzle.postgres.translation import translate_error

_NAME = r'("(?:[^"]|"")+"|[a-z_][a-z0-9_$]*)'
# All that pg_dumpall writes about a role; of a membership and a privilege, the one who has it comes last.
_OF_ONE = re.compile(rf"(?:CREATE ROLE|ALTER ROLE|COMMENT ON ROLE|SECURITY LABEL FOR \S+ ON ROLE) {_NAME}")
_GRANT = re.compile(rf"GRANT (?:{_NAME}|[A-Z, ]+ ON PARAMETER \S+) TO {_NAME}")
_OF_TABLESPACES = re.compile(rf"CREATE TABLESPACE {_NAME}")


@dataclass(frozen=True, kw_only=True, slots=True)
class RestoredRoles:
    """What became of the roles of a backup.

    Attributes:
        made: Roles that were missing, in the backup's order.
        kept: Roles that were there already; they were not touched, their passwords least of all.
        left_out: What else the backup holds, one clause each.
    """

    made: tuple[str, ...]
    kept: tuple[str, ...]
    left_out: tuple[str, ...]


def restore_roles(control: Connection, backup: Backup, folder: Path) -> RestoredRoles:
    """Make the roles that a server lacks, with attributes, passwords, settings, comments and memberships.

    All of them in one transaction or none. Tablespaces are left out: their places have to be made first.

    Args:
        control: A session of a superuser, or of whoever may make roles.
        backup: A globals backup, or a full one.
        folder: Where it lies.

    Raises:
        InvalidInputError: The backup holds no roles. Nothing was changed.
        BackupDamagedError: A file is not what the manifest says. Nothing was changed.
        DatabaseError: The server refused one; no role was made.
    """
    if backup.kind not in {BackupKind.GLOBALS, BackupKind.FULL}:
        raise InvalidInputError(
            f"backup {backup.id} ({backup.kind}) holds no roles", hint="name a backup of the globals, or a full one"
        )
    check_files(backup, folder)
    path = folder / GLOBALS_FILE
    statements = [one.sql for one in split_statements(path.read_text(encoding="utf-8"), source=str(path))]
    try:
        there = {name for (name,) in control.execute("SELECT quote_ident(rolname) FROM pg_roles")}
        with control.transaction():
            for statement in _wanted(statements, there):
                control.execute(statement.encode())
    except psycopg.Error as exc:
        doing = f"make the roles of backup {backup.id} (none was made)"
        raise translate_error(exc, doing=doing, needs="the attribute CREATEROLE, or a superuser") from exc
    named = [found[1] for one in statements if one.startswith("CREATE ROLE") and (found := _OF_ONE.match(one))]
    spaces = sorted({found[1] for one in statements if (found := _OF_TABLESPACES.match(one))})
    return RestoredRoles(
        made=tuple(name for name in named if name not in there),
        kept=tuple(name for name in named if name in there),
        left_out=tuple(f"tablespace {name}: make its folder, then CREATE TABLESPACE by hand" for name in spaces),
    )


def _wanted(statements: Iterable[str], there: set[str]) -> Iterable[str]:
    """The statements about roles that are not there; memberships of one that is there in a new one, too."""
    for statement in statements:
        one, grant = _OF_ONE.match(statement), _GRANT.match(statement)
        named = {one[1]} if one else {name for name in grant.groups() if name} if grant else set()
        if not named <= there:
            yield statement
