"""Taking over from another tool: its bookkeeping becomes our history, and nothing is run.

The tables are those that the tools make (their own documentation and sources): golang-migrate keeps only the newest
version, the others a row for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import sql

from squizzle.errors import InvalidInputError, VersionConflictError
from squizzle.migrations.history import ensure_history, history_table, read_history, record_digest
from squizzle.migrations.records import Migration
from squizzle.migrations.session import exclusive
from squizzle.migrations.versions import version_key
from squizzle.postgres.access import Connection
from squizzle.postgres.identity import Target, check_identity, ensure_identity, read_identity
from squizzle.postgres.translation import translate_error
from squizzle.proof.digests import digest_schema


@dataclass(frozen=True, kw_only=True, slots=True)
class Adopted:
    """One migration that the other tool applied; `applied_at` is None where it keeps no times."""

    migration: Migration
    applied_at: datetime | None


# What the other tool calls a migration, and when it was applied.
_Entries = Mapping[str, datetime | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Bookkeeping:
    """How one tool keeps its books.

    Attributes:
        table: Its table; with a schema where the tool has its own.
        columns: That tell this tool's table from another's of the same name.
        query: Gives a key and a time for each applied migration.
        key: What the table calls a migration on disk.
        newest_only: The table holds only the newest version; all before it are applied, too.
    """

    table: str
    columns: tuple[str, ...]
    query: str
    key: Callable[[Migration], str]
    newest_only: bool = False


def _number(migration: Migration) -> str:
    return migration.version.lstrip("0") or "0"


_TOOLS = {
    "golang-migrate": _Bookkeeping(
        table="schema_migrations",
        columns=("version", "dirty"),
        query="SELECT version::text, NULL FROM {table}",
        key=_number,
        newest_only=True,
    ),
    "diesel": _Bookkeeping(
        table="__diesel_schema_migrations",
        columns=("version", "run_on"),
        query="SELECT version, run_on::timestamptz FROM {table}",
        key=lambda one: one.version,
    ),
    "dbmate": _Bookkeeping(
        table="schema_migrations",
        columns=("version",),
        query="SELECT version, NULL FROM {table}",
        key=lambda one: one.version,
    ),
    "goose": _Bookkeeping(
        table="goose_db_version",
        columns=("version_id", "is_applied"),
        # A row for every step either way; the newest of a version counts. Version 0 only says that the table is there.
        query="SELECT version_id::text, tstamp::timestamptz FROM (SELECT DISTINCT ON (version_id) * FROM {table}"
        " ORDER BY version_id, id DESC) newest WHERE is_applied AND version_id > 0",
        key=_number,
    ),
    "sql-migrate": _Bookkeeping(
        table="gorp_migrations",
        columns=("id", "applied_at"),
        query="SELECT id, applied_at FROM {table}",
        key=lambda one: one.labels.up,
    ),
    "flyway": _Bookkeeping(
        table="flyway_schema_history",
        columns=("installed_rank", "script"),
        query="SELECT DISTINCT ON (script) script, installed_on::timestamptz FROM {table}"
        " WHERE success AND type = 'SQL' ORDER BY script, installed_rank DESC",
        key=lambda one: one.labels.up,
    ),
    "sqitch": _Bookkeeping(
        table="sqitch.changes",
        columns=("change", "committed_at"),
        query="SELECT change, committed_at FROM {table}",
        key=lambda one: one.name,
    ),
}
# Where Alembic's table is and what it means, only a project's own env.py knows.
ALEMBIC = "alembic"
ADOPTABLE = (*_TOOLS, ALEMBIC)


def preview_adoption(
    connection: Connection, target: Target, migrations: Sequence[Migration], layout: str
) -> tuple[Adopted, ...]:
    """What the other tool applied, in the order of versions. Nothing is changed.

    Raises:
        InvalidInputError: The layout's tool keeps no books that we know, or its table is not there.
        VersionConflictError: There is a history already, the tool's last run failed half-way, or it applied something
            that is not on disk.
        IdentityMismatchError: Another database than was meant.
    """
    check_identity(read_identity(connection), target.expected, database=target.database)
    if read_history(connection, target.schema).rows:
        raise VersionConflictError(
            f"{target.database} has a history of Squizzle's already", hint="`squizzle status` shows it"
        )
    if layout == ALEMBIC:
        return tuple(_from_program(connection, migrations))
    tool = _TOOLS.get(layout)
    if tool is None:
        raise InvalidInputError(
            f"there is nothing to adopt from the layout {layout!r}", hint=f"--layout one of {', '.join(ADOPTABLE)}"
        )
    entries = _read_entries(connection, target, tool, layout)
    return tuple(_match(migrations, entries, tool, layout))


def adopt_history(
    connection: Connection, target: Target, migrations: Sequence[Migration], layout: str
) -> tuple[Adopted, ...]:
    """Fill the history from the other tool's bookkeeping, all of it or nothing; no script is run.

    Errors as for `preview_adoption`, and LockTimeoutError when somebody migrates this database.
    """
    with exclusive(connection, target):
        adopted = preview_adoption(connection, target, migrations, layout)
        ensure_identity(connection, target.expected, database=target.database)
        digest = digest_schema(connection, schema=target.schema).logical
        with connection.transaction():
            ensure_history(connection, target.schema)
            for one in adopted:
                _insert(connection, target, one)
            record_digest(connection, target.schema, digest)
    return adopted


def _from_program(connection: Connection, migrations: Sequence[Migration]) -> Iterable[Adopted]:
    """What the tool's own program says is applied; it keeps no times."""
    program = next((one.program for one in migrations if one.program is not None), None)
    applied = program.applied(connection) if program is not None else frozenset()
    for migration in migrations:
        if migration.alias in applied:
            yield Adopted(migration=migration, applied_at=None)


def _insert(connection: Connection, target: Target, one: Adopted) -> None:
    query = sql.SQL(
        "INSERT INTO {history} (version, name, checksum, direction, environment, success, applied_at)"
        " VALUES (%s, %s, %s, 'apply', %s, true, coalesce(%s, clock_timestamp()))"
    ).format(history=history_table(target.schema))
    migration = one.migration
    values = (migration.version, migration.name, migration.checksum, target.environment, one.applied_at)
    connection.execute(query, values)


def _read_entries(connection: Connection, target: Target, tool: _Bookkeeping, layout: str) -> _Entries:
    schema, _, table = tool.table.rpartition(".")
    schema = schema or target.schema
    try:
        columns = _columns(connection, schema, table)
        if not set(tool.columns) <= columns:
            raise InvalidInputError(
                f"{layout} keeps its books in {schema}.{table}, which is not there or has other columns",
                hint="check --layout and --schema; nothing was changed",
            )
        if "dirty" in tool.columns:
            _refuse_dirty(connection, schema, table)
        name = sql.Identifier(schema, table)
        return dict(connection.execute(sql.SQL(tool.query).format(table=name)).fetchall())
    except psycopg.Error as exc:
        raise translate_error(exc, doing=f"read {schema}.{table}") from exc


def _columns(connection: Connection, schema: str, table: str) -> set[str]:
    rows = connection.execute(
        "SELECT a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
        " JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relname = %s AND a.attnum > 0 AND NOT a.attisdropped",
        (schema, table),
    )
    return {row[0] for row in rows}


def _refuse_dirty(connection: Connection, schema: str, table: str) -> None:
    query = sql.SQL("SELECT version FROM {} WHERE dirty").format(sql.Identifier(schema, table))
    row = connection.execute(query).fetchone()
    if row is not None:
        raise VersionConflictError(
            f"{schema}.{table} says that version {row[0]} is dirty: it failed half-way",
            hint="put the schema right and clear the mark with the tool itself, then adopt",
        )


def _match(migrations: Sequence[Migration], entries: _Entries, tool: _Bookkeeping, layout: str) -> Iterable[Adopted]:
    on_disk = {tool.key(migration): migration for migration in migrations}
    unknown = sorted(entries.keys() - on_disk.keys())
    if unknown:
        raise VersionConflictError(
            f"{layout} applied what is not in the migrations folder: {', '.join(unknown)}",
            hint="check out the branch that has them; nothing was changed",
        )
    newest = max((version_key(on_disk[key].version) for key in entries), default=None)
    for migration in migrations:
        key = tool.key(migration)
        before_newest = newest is not None and version_key(migration.version) <= newest
        if key in entries or (tool.newest_only and before_newest):
            yield Adopted(migration=migration, applied_at=entries.get(key))
