"""Scratch databases: empty ones, copies of a schema without rows, copies of those. Nothing else is ever touched."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Self

import psycopg
from psycopg import sql

from squizzle.errors import CouldNotVerifyError
from squizzle.migrations.reversal.archive import Entry
from squizzle.migrations.reversal.restoring import making
from squizzle.postgres.access import CONTROL_DATABASE, Connection, connect
from squizzle.postgres.scratch_server import ScratchServer
from squizzle.postgres.translation import server_words, translate_error

_PREFIX = "squizzle_scratch_"
# They reach other servers or hold passwords, and no migration's schema depends on them.
_NOT_COPIED = frozenset({"SUBSCRIPTION", "USER MAPPING"})
# About the database itself and about the dump.
_NOT_IN_IT = frozenset({"DATABASE", "DATABASE PROPERTIES", "ENCODING", "SEARCHPATH", "STDSTRINGS"})


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
