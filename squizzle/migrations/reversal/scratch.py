"""Scratch databases: empty ones, copies of a schema without rows, copies of those. Nothing else is ever touched."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import psycopg
from psycopg import sql

from squizzle.errors import CouldNotVerifyError, InvalidInputError
from squizzle.migrations.reversal.archive import Entry
from squizzle.migrations.reversal.restoring import making
from squizzle.postgres.access import CONTROL_DATABASE, Connection, ServerAccess, connect
from squizzle.postgres.embedded import Runtime, drill_settings, find_runtime, throwaway_cluster
from squizzle.postgres.programs import ClientPrograms, find_programs, system_folders
from squizzle.postgres.translation import server_words, translate_error

_PREFIX = "squizzle_scratch_"
# They reach other servers or hold passwords, and no migration's schema depends on them.
_NOT_COPIED = frozenset({"SUBSCRIPTION", "USER MAPPING"})
# About the database itself and about the dump.
_NOT_IN_IT = frozenset({"DATABASE", "DATABASE PROPERTIES", "ENCODING", "SEARCHPATH", "STDSTRINGS"})


@dataclass(frozen=True, kw_only=True, slots=True)
class ScratchServer:
    """Where scratch databases may be made.

    Attributes:
        access: Server and account; a superuser, or somebody who may do what the script does.
        programs: Client programs that fit it.
        throwaway: Whether the whole server goes away afterwards, so that roles may be made on it.
        where: What messages call it.
    """

    access: ServerAccess
    programs: ClientPrograms
    throwaway: bool
    where: str


@contextmanager
def scratch_server(major: int, *, programs: Path | None = None) -> Iterator[ScratchServer]:
    """A server of our own of the same major version, for the length of the block.

    Args:
        major: Of the server that the script is meant for.
        programs: Folder of client programs that the user named.

    Raises:
        CouldNotVerifyError: There are no server programs of this version on this machine. Nothing was started.
        EmbeddedServerError: It does not start.
    """
    runtime = _runtime_of(major)
    with throwaway_cluster("reverse", settings=drill_settings(major, throwaway=True), runtime=runtime) as address:
        yield ScratchServer(
            access=ServerAccess(host=str(address.socket_folder), port=address.port, user=address.user),
            programs=find_programs(explicit=programs, server_major=major),
            throwaway=True,
            where=f"an embedded PostgreSQL {runtime.version}",
        )


def _runtime_of(major: int) -> Runtime:
    seen = []
    for folder in (None, *system_folders()):
        try:
            runtime = find_runtime(bin_folder=folder)
        except InvalidInputError as exc:
            seen.append(exc.message)
            continue
        if runtime.major == major:
            return runtime
        seen.append(runtime.version)
    raise CouldNotVerifyError(
        f"there is no PostgreSQL {major} on this machine to try the way back on (found: {', '.join(seen) or 'none'})",
        hint=f"install the server programs of PostgreSQL {major}, or name a server with --scratch URL",
    )


def named_server(access: ServerAccess, *, programs: Path | None = None) -> ScratchServer:
    """A server that the user named for scratch databases.

    Raises:
        ConnectionFailedError: It cannot be reached.
    """
    with connect(access, CONTROL_DATABASE, purpose="scratch") as control:
        major = control.info.server_version // 10000
    found = find_programs(explicit=programs, server_major=major)
    return ScratchServer(access=access, programs=found, throwaway=False, where=f"{access.where} (PostgreSQL {major})")


class ScratchDatabases:
    """Makes scratch databases on one server, and drops them all at the end; used as a context manager.

    Args:
        server: Where.
    """

    def __init__(self, server: ScratchServer) -> None:
        self.server = server
        self._control = connect(server.access, CONTROL_DATABASE, purpose="scratch")
        self._made: list[str] = []
        self._run = f"{_PREFIX}{os.getpid()}_{secrets.token_hex(3)}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            for name in self._made:
                self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        finally:
            self._control.close()

    def empty(self) -> str:
        """The name of a new database with nothing in it."""
        return self._create(sql.SQL("TEMPLATE template0 ENCODING 'UTF8'"))

    def copy_of(self, name: str) -> str:
        """The name of a new copy of one of ours, in which no session may be."""
        return self._create(sql.SQL("TEMPLATE {}").format(sql.Identifier(name)))

    def open(self, name: str, *, schema: str) -> Connection:
        """A session in one of ours, in which unqualified names are found as in the real one."""
        connection = connect(self.server.access, name, purpose="scratch")
        if schema != "public":
            connection.execute(sql.SQL("SET search_path = {}, public").format(sql.Identifier(schema)))
        return connection

    def act_as(self, user: str, roles: Sequence[str]) -> None:
        """Let the scratch server know these roles, and let us be one of them.

        On a server that goes away they are made; on any other one they must be there.
        """
        if not self.server.throwaway:
            return
        there = {name for (name,) in self._control.execute("SELECT rolname FROM pg_roles")}
        for role in roles:
            if role not in there and role != user:
                self._execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))
        if user not in there:
            self._execute(sql.SQL("CREATE ROLE {} LOGIN SUPERUSER").format(sql.Identifier(user)))
        self.server = replace(self.server, access=replace(self.server.access, user=user))

    def _create(self, rest: sql.SQL | sql.Composed) -> str:
        name = f"{self._run}_{len(self._made)}"
        self._made.append(name)
        self._execute(sql.SQL("CREATE DATABASE {} {}").format(sql.Identifier(name), rest))
        return name

    def _execute(self, command: sql.Composed) -> None:
        try:
            self._control.execute(command)
        except psycopg.Error as exc:
            raise translate_error(exc, doing="prepare a scratch database") from exc


def read_roles(connection: Connection) -> tuple[str, tuple[str, ...]]:
    """Who we are in a database, and all roles of its cluster but the predefined ones. Nothing is changed."""
    try:
        user = connection.execute("SELECT current_user").fetchone()
        rows = connection.execute("SELECT rolname FROM pg_roles WHERE NOT starts_with(rolname, 'pg_') ORDER BY 1")
        return str(user[0]) if user else "", tuple(str(name) for (name,) in rows)
    except psycopg.Error as exc:
        raise translate_error(exc, doing="read the roles") from exc


def copy_schema(entries: Sequence[Entry], connection: Connection) -> None:
    """Make every object of a dump in an empty scratch database; its materialised views are filled.

    Args:
        entries: All of the dump.
        connection: A session in the scratch database; its search_path is kept.

    Raises:
        CouldNotVerifyError: An object cannot be made there, such as an extension that the server does not have.
    """
    wanted = [entry for entry in entries if _belongs_in_a_copy(entry)]
    last = [entry for entry in wanted if entry.kind == "ACL"]
    first = [entry for entry in wanted if entry.kind != "ACL"]
    try:
        with connection.transaction():
            connection.execute(
                "SELECT set_config('search_path', '', true), set_config('check_function_bodies', 'off', true)"
            )
            for text in making([*first, *last], current_user=connection.info.user):
                connection.execute(text.encode())
            for (name,) in connection.execute(_UNFILLED).fetchall():
                connection.execute(sql.SQL("REFRESH MATERIALIZED VIEW {}").format(sql.SQL(name)))
    except psycopg.Error as exc:
        raise CouldNotVerifyError(
            f"the schema cannot be copied to the scratch server: {server_words(exc)}",
            hint="install there what it lacks, or name another server with --scratch URL",
        ) from exc


def _belongs_in_a_copy(entry: Entry) -> bool:
    return entry.kind not in _NOT_COPIED | _NOT_IN_IT and not entry.tag.startswith("DATABASE ")


_UNFILLED = """
    SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'm' AND NOT c.relispopulated ORDER BY c.oid
"""
