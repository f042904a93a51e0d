"""Whose the objects of a restored database become, where the account that restores is no superuser."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path

import psycopg
from psycopg import sql

from squizzle.backups.dump import DUMP_FOLDER
from squizzle.backups.records import Backup
from squizzle.backups.surroundings import saved_surroundings
from squizzle.errors import RecoveryError
from squizzle.postgres.access import Connection, ServerAccess
from squizzle.postgres.client_run import run_client
from squizzle.postgres.programs import ClientPrograms
from squizzle.postgres.translation import translate_error

_PATIENCE = timedelta(minutes=10)
"""To read the table of contents of a dump with a hundred thousand tables."""

# From this version on a member may be kept from becoming the role (manual, "GRANT", WITH SET).
_FIRST_WITH_SET = 160000
_ROLES = """
    SELECT r.rolname, pg_has_role(current_user, r.oid, %s), pg_has_role(current_user, r.oid, 'USAGE'),
        r.rolname = current_user
    FROM pg_roles r WHERE r.rolname = ANY (%s)
"""


def owner_to_be(control: Connection, owner: str) -> str | None:
    """Who has to own a new database from its first instant; None for the account itself. Nothing is changed.

    A table in `public` can be handed to who may create there, and in a new database only its owner may (manual,
    "Schemas and Privileges"): so a member of the owner restores into a database that is the owner's.

    Args:
        control: A session of the account that restores.
        owner: Who owned the database that was saved.
    """
    if _is_superuser(control):
        return None
    return next((name for name, may, has, is_own in _asked(control, (owner,)) if may and has and not is_own), None)


def refuse_owners_of_others(
    access: ServerAccess, control: Connection, backup: Backup, folder: Path, programs: ClientPrograms
) -> None:
    """Look whether the account may hand every object to its owner, before anything is restored.

    Args:
        access: Server and account.
        control: A session of that account.
        backup: What is to be restored.
        folder: Where it lies.
        programs: pg_restore.

    Raises:
        RecoveryError: It may not; the hint has the commands. Nothing was changed.
    """
    saved = saved_surroundings(folder)
    if saved is None or _is_superuser(control):
        return
    owners = _owners_in(_contents(access, backup, folder, programs), saved.roles)
    others = [name for name, may, _has, _is_own in _asked(control, owners) if not may]
    if not others:
        return
    account = control.info.user
    grants = "; ".join(
        sql.SQL("GRANT {} TO {}").format(sql.Identifier(name), sql.Identifier(account)).as_string() for name in others
    )
    raise RecoveryError(
        f"{account} may not hand what it restores of backup {backup.id} to its owners: {', '.join(others)};"
        " nothing was restored",
        hint=f"{grants}; or restore as a superuser",
    )


def _contents(access: ServerAccess, backup: Backup, folder: Path, programs: ClientPrograms) -> tuple[str, ...]:
    with tempfile.TemporaryDirectory(prefix="squizzle-contents-") as name:
        contents = Path(name) / "contents"
        run_client(
            programs.path("pg_restore"),
            ["--list", f"--file={contents}", str(folder / DUMP_FOLDER)],
            access=access,
            database=backup.database,
            doing=f"read what is in backup {backup.id}",
            timeout=_PATIENCE,
        )
        lines = contents.read_text(encoding="utf-8", errors="replace").splitlines()
    return tuple(line for line in lines if line and not line.startswith(";"))


def _owners_in(contents: tuple[str, ...], roles: tuple[str, ...]) -> tuple[str, ...]:
    """Who of these roles owns something: each line ends with its owner, whose name may have spaces. Pure."""
    longest_first = sorted(roles, key=len, reverse=True)
    found = {next((role for role in longest_first if line.endswith(f" {role}")), "") for line in contents}
    return tuple(sorted(found - {""}))


def _is_superuser(control: Connection) -> bool:
    return control.info.parameter_status("is_superuser") == "on"


def _asked(control: Connection, roles: tuple[str, ...]) -> list[tuple[str, bool, bool, bool]]:
    becoming = "SET" if control.info.server_version >= _FIRST_WITH_SET else "MEMBER"
    try:
        return control.execute(_ROLES, (becoming, list(roles))).fetchall()
    except psycopg.Error as exc:
        raise translate_error(exc, doing="see whose the restored objects may become") from exc
