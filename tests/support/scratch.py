"""Roles and databases for the length of a test."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import sql

from squizzle.postgres.access import Connection


@contextmanager
def new_role(control: Connection, options: sql.SQL | sql.Composed) -> Iterator[str]:
    """A role with these options, dropped afterwards; it must own nothing by then."""
    name = f"r_{secrets.token_hex(4)}"
    control.execute(sql.SQL("CREATE ROLE {} {}").format(sql.Identifier(name), options))
    try:
        yield name
    finally:
        control.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))


@contextmanager
def new_database(control: Connection, options: sql.SQL | sql.Composed, *, prefix: str = "t") -> Iterator[str]:
    """A database with these options, dropped afterwards together with whatever has a name that begins with its own."""
    name = f"{prefix}_{secrets.token_hex(4)}"
    # Without a word in the log about 7 MB of template, so that nothing has to be archived either.
    control.execute(sql.SQL("CREATE DATABASE {} STRATEGY file_copy {}").format(sql.Identifier(name), options))
    try:
        yield name
    finally:
        drop_databases(control, name)


def drop_databases(control: Connection, prefix: str) -> None:
    """Drop every database whose name begins like this."""
    for (found,) in control.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", (prefix,)):
        control.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(found)))


def drop_roles(control: Connection, prefix: str) -> None:
    """Drop every role whose name begins like this; the databases where they own something are gone."""
    for (found,) in control.execute("SELECT rolname FROM pg_roles WHERE starts_with(rolname, %s)", (prefix,)):
        control.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(found)))
