"""Tables that Squizzle keeps for itself in a database of the user's: made, brought up to date, and read as they are.

Whoever writes calls `ensure_tables` first; whoever only reads takes `find_tables`, which changes nothing and gives
columns that a table of an earlier version lacks as what they would be. What a newer version made is worked on as long
as it says that this is safe, see `own_scripts`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import LiteralString

import psycopg
from psycopg import sql

from squizzle.errors import RefusedError
from squizzle.postgres.access import Connection
from squizzle.postgres.own_scripts import Makes, OwnTables, Statement, version_in
from squizzle.postgres.sql_files import load_sql
from squizzle.postgres.translation import translate_error

# Whoever reads the table queues behind us for so long at the most, and is let through between two tries.
_LOCK_TIMEOUT = timedelta(milliseconds=50)
_PAUSE_S = 0.05
# A verb that finds its table in use for longer than this is better told than kept.
_PATIENCE = timedelta(seconds=30)
_LOCK_KEY = "squizzle's own tables"
_AFTER_TABLE = frozenset({Makes.COLUMNS, Makes.COMMENT})


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundTables:
    """Which of some tables a database has, and with which of their columns.

    Attributes:
        own: The tables that were looked for.
        columns: By table, of those that are there.
        comments: By table, of those that are there.
        others: Schemas and indexes that are there.
    """

    own: OwnTables
    columns: Mapping[str, Collection[str]]
    comments: Mapping[str, str | None]
    others: frozenset[str]

    def has(self, table: str) -> bool:
        """Whether a table is there."""
        return table in self.columns

    def source(self, table: str, alias: LiteralString) -> sql.Composable:
        """What to read a table from: itself, or itself with the columns that one of an earlier version lacks."""
        name = _sql(table)
        lacking = [one for one in self.own.later_columns(table) if one.name not in self.columns[table]]
        if not lacking:
            return sql.SQL("{} AS {}").format(name, sql.Identifier(alias))
        added = sql.SQL(", ").join(
            sql.SQL("{} AS {}").format(_sql(one.absent), sql.Identifier(one.name)) for one in lacking
        )
        return sql.SQL("(SELECT t.*, {} FROM {} t) AS {}").format(added, name, sql.Identifier(alias))

    def steps(self) -> tuple[Statement, ...]:
        """What has to be carried out so that everything is as this version has it; nothing where it is."""
        missing = [one for one in self.own.statements if self._is_missing(one)]
        needed = any(one.makes not in {Makes.INDEX, Makes.COMMENT} for one in missing)
        # A comment, and an index that only makes it quicker, are not worth a lock, nor a right that is not there.
        return tuple(missing) if needed else ()

    def _is_missing(self, one: Statement) -> bool:
        if one.makes is Makes.TABLE:
            return one.name not in self.columns
        if one.makes is Makes.COLUMNS:
            there = self.columns.get(one.name, ())
            return any(column.name not in there for column in one.columns)
        if one.makes is Makes.COMMENT:
            wanted, found = self.own.versions.get(one.name), version_in(self.comments.get(one.name))
            return found is None or (wanted is not None and found.version < wanted.version)
        return one.name not in self.others


def find_tables(connection: Connection, own: OwnTables) -> FoundTables | None:
    """The tables as they are; None where none of them is there. Nothing is changed.

    Args:
        connection: A session in the database.
        own: The tables.

    Raises:
        RefusedError: A newer Squizzle made one of them, and says that this one knows too little to work on it.
        psycopg.Error: No right to look, or the session was lost.
    """
    found = _look(connection, own)
    return found if found.columns else None


def ensure_tables(
    connection: Connection,
    own: OwnTables,
    *,
    lock_timeout: timedelta = _LOCK_TIMEOUT,
    patience: timedelta = _PATIENCE,
) -> None:
    """Make tables that are missing, and add the columns that those of an earlier version lack.

    Nothing is locked and no right but reading the catalogue is needed where nothing is missing. Columns are only ever
    added, nullable or with a constant default, which rewrites no row: an older Squizzle works on as before. A table
    is locked for an instant; where the lock is not granted at once, it is tried again.

    Args:
        connection: A session in the database; inside a transaction of the caller's the locks stay until its end.
        own: The tables.
        lock_timeout: Of one try.
        patience: After that no further try is made.

    Raises:
        RefusedError: A newer Squizzle made one of them, and says that this one knows too little to work on it.
        LockTimeoutError: Something is missing and a lock was not granted; nothing was changed.
        DatabaseError: No right to make or change them, or the session was lost; nothing was changed.
    """
    doing, needs = "look for tables of our own", ""
    try:
        found = _look(connection, own)
        if not found.steps():
            return
        doing, needs = _work(found, connection.info.dbname)
        deadline = time.monotonic() + patience.total_seconds()
        while not _is_done(connection, own, lock_timeout, is_last=time.monotonic() > deadline):
            time.sleep(_PAUSE_S * random.uniform(0.5, 1.5))  # noqa: S311 - so that two do not try in step
    except psycopg.Error as exc:
        raise translate_error(exc, doing=doing, needs=needs) from exc


def _work(found: FoundTables, database: str) -> tuple[str, str]:
    """What is to be done, as the beginning of a sentence, and the rights that it takes."""
    names = _shown(" and ".join(found.own.tables))
    if found.columns:
        return f"bring {names} up to date", f"ownership of {names}"
    schema = found.own.tables[0].rpartition(".")[0]
    is_missing = schema not in found.others and any(one.makes is Makes.SCHEMA for one in found.own.statements)
    needs = f"CREATE on the database {database}" if is_missing else f"USAGE and CREATE on the schema {_shown(schema)}"
    return f"create {names}", needs


def _shown(names: str) -> str:
    return names.replace('"', "")


def _is_done(connection: Connection, own: OwnTables, lock_timeout: timedelta, *, is_last: bool) -> bool:
    """One short try, all of it or nothing."""
    try:
        with connection.transaction():
            (before,) = connection.execute("SELECT current_setting('lock_timeout')").fetchone() or ("0",)
            milliseconds = round(lock_timeout.total_seconds() * 1000)
            _set_lock_timeout(connection, f"{milliseconds}ms")
            # Two who make the same at the same time collide in the catalogue in spite of IF NOT EXISTS.
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (_LOCK_KEY,))
            for step in _look(connection, own).steps():
                connection.execute(step.sql.encode())
            _set_lock_timeout(connection, before)
    except psycopg.errors.LockNotAvailable:
        if is_last:
            raise
        return False
    return True


def _set_lock_timeout(connection: Connection, value: str) -> None:
    connection.execute("SELECT set_config('lock_timeout', %s, true)", (value,))


def _look(connection: Connection, own: OwnTables) -> FoundTables:
    found = _ask(connection, own)
    for table, version in own.versions.items():
        theirs = version_in(found.comments.get(table))
        if theirs is not None and theirs.usable_from > version.version:
            raise RefusedError(
                f"{_shown(table)} in {connection.info.dbname} was made by a newer Squizzle: it is version"
                f" {theirs.version} of that table, usable from version {theirs.usable_from} on, and this one knows"
                f" version {version.version}",
                hint="upgrade this Squizzle (pip install --upgrade squizzle), or run the command where the newer one"
                " is; nothing was changed",
            )
    return found


def _ask(connection: Connection, own: OwnTables) -> FoundTables:
    schemas = [one.name for one in own.statements if one.makes is Makes.SCHEMA]
    relations = [one.name for one in own.statements if one.makes in {Makes.TABLE, Makes.UNIQUE, Makes.INDEX}]
    query = load_sql("squizzle.postgres", "own_tables")
    rows = connection.execute(query, {"schemas": schemas, "relations": relations}).fetchall()
    there = {name: (columns, comment) for name, columns, comment in rows}
    tables = set(own.tables)
    return FoundTables(
        own=own,
        columns={name: frozenset(columns) for name, (columns, _) in there.items() if name in tables},
        comments={name: comment for name, (_, comment) in there.items() if name in tables},
        others=frozenset(there.keys() - tables),
    )


def _sql(text: str) -> sql.SQL:
    """Text of our own scripts, in which names are quoted already."""
    return sql.SQL(text)
