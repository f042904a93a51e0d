"""Whose the change log is: its functions run, with the rights of their owner, for whoever writes to a logged table."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.rows import class_row

from squizzle.errors import RefusedError
from squizzle.postgres.access import Connection
from squizzle.postgres.sql_files import load_sql

_PACKAGE = "squizzle.backups.change_log"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    name: str
    owner: str
    is_trusted: bool
    is_ours: bool
    source: str | None
    is_safe: bool


def refuse_stranger(connection: Connection) -> None:
    """Refuse a change log that somebody made who is neither us, nor the database's owner, nor a superuser. Only reads.

    Its functions would run with our rights or read our rows, and what it says happened need not have happened.

    Raises:
        RefusedError: Names what belongs to whom.
        psycopg.Error: The session was lost.
    """
    parts = _read(connection)
    strange = [one for one in parts if not one.is_trusted]
    if strange or len({one.owner for one in parts}) > 1:
        one = strange[0] if strange else parts[-1]
        others = sorted({part.owner for part in parts})
        raise RefusedError(
            f"{one.name} belongs to {one.owner}, who is not to be trusted with what is logged (the log belongs to"
            f" {', '.join(others)}; it must be one owner: you, the database's owner, or a superuser)",
            hint="find out who made it and why; then DROP SCHEMA squizzle_log CASCADE, or give it to one of these",
        )


def is_as_installed(connection: Connection) -> bool:
    """Whether the functions are this version's, with the settings that make them safe."""
    text = load_sql(_PACKAGE, "install")
    functions = [one for one in _read(connection) if one.source is not None]
    return len(functions) == len(_FUNCTIONS) and all(
        one.is_safe and one.source is not None and f"$${one.source}$$" in text for one in functions
    )


_FUNCTIONS = ("log_row", "log_truncate")


def _read(connection: Connection) -> list[_Part]:
    with connection.cursor(row_factory=class_row(_Part)) as cursor:
        return cursor.execute(load_sql(_PACKAGE, "owners")).fetchall()
