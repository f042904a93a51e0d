"""The way back of a version or of a file: finds the state before it, and proves the way back where that is possible."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from psycopg import sql

from squizzle.analysis.statements import split_statements
from squizzle.errors import CouldNotVerifyError, EmbeddedServerError, InvalidInputError, VersionConflictError
from squizzle.migrations.history import read_history
from squizzle.migrations.lineage import full_version
from squizzle.migrations.records import HistoryRow, Migration
from squizzle.migrations.reversal.archive import Entry
from squizzle.migrations.reversal.catalogue import Catalogue, dump_schema
from squizzle.migrations.reversal.generate import Script, reverse_by_text, reverse_with_proof
from squizzle.migrations.reversal.proving import run_forward
from squizzle.migrations.reversal.records import Reversal, Reverse
from squizzle.migrations.reversal.scratch import ScratchDatabases, copy_schema, read_roles
from squizzle.migrations.session import work_in_schema
from squizzle.migrations.versions import version_key
from squizzle.postgres.access import Connection, ServerAccess
from squizzle.postgres.embedded import find_runtime
from squizzle.postgres.identity import Target, check_identity, read_identity
from squizzle.postgres.programs import ClientPrograms, find_programs
from squizzle.postgres.scratch_server import named_server, scratch_server
from squizzle.proof.comparison import differing_objects
from squizzle.proof.digests import digest_schema


@dataclass(frozen=True, kw_only=True, slots=True)
class Live:
    """The database that the way back is for; it is only read.

    Attributes:
        connection: A read-only session in it.
        access: The same server and account, for pg_dump.
        target: Who the caller means.
    """

    connection: Connection
    access: ServerAccess
    target: Target


@dataclass(frozen=True, kw_only=True, slots=True)
class Means:
    """What may be used for the proof.

    Attributes:
        scratch: A server that the user named for scratch databases; None for one of our own.
        programs: The folder of client programs that the user named.
        schema: Where unqualified names are when there is no database to say so.
    """

    scratch: ServerAccess | None = None
    programs: Path | None = None
    schema: str = "public"


def reverse_version(
    migrations: Sequence[Migration],
    version: str,
    live: Live | None,
    means: Means,
    *,
    save_rows: bool = False,
    keep_newer: bool = False,
) -> Reversal:
    """The way back of one version; no database but scratch ones is changed.

    The state before a pending version is the database's own; that of an applied one, or without a database, is made
    on a scratch database by running the versions before it.

    Args:
        migrations: What is on disk.
        version: Which.
        live: The database; None when there is none to look at.
        means: What may be used for the proof.
        save_rows: Whether rows that are touched shall be saved before, of a version that is pending; an applied one
            counts on the rows that it saved, whatever is said here.
        keep_newer: Whether rows that clients changed since stay as they are, instead of stopping the way back.

    Raises:
        VersionConflictError: There is no such version on disk.
        InvalidInputError: It is a program, or repeatable.
        MigrationFailedError: The script, or one before it, fails on the scratch copy.
    """
    migration = _chosen(migrations, version)
    version = migration.version
    script = _script(migration, _schema(live, means), save_as=version if save_rows else "")
    earlier = [one for one in migrations if not one.repeatable and version_key(one.version) < version_key(version)]
    applied = _applied(live)
    if live is not None and version not in applied:
        return _reverse(script, live, means, [one for one in earlier if one.version not in applied], from_live=True)
    if live is not None:
        saved = applied[version].saved_rows
        script = replace(script, save_as=saved.save_as if saved else "", saved=saved.numbers if saved else None)
    found = _reverse(replace(script, keep_newer=keep_newer), live, means, earlier, from_live=False)
    newest = max(applied, key=version_key, default="")
    return found if live is None or version != newest else _with_drift(found, live)


def _chosen(migrations: Sequence[Migration], version: str) -> Migration:
    wanted = full_version(version, migrations)
    migration = next((one for one in migrations if one.version == wanted), None)
    if migration is None:
        raise VersionConflictError(
            f"there is no version {version} in the migrations folder", hint="`squizzle status` lists what is there"
        )
    if migration.program is not None:
        raise InvalidInputError(
            f"{migration.labels.up} is a program, so it has no statements that could be turned round",
            hint="let its own tool say the way back, or put what it does into SQL",
        )
    if migration.repeatable:
        raise InvalidInputError(
            f"{migration.labels.up} is repeatable, so its way back is its former text",
            hint="write that into the file (git log shows it), and apply it again",
        )
    return migration


def reverse_file(text: str, source: str, live: Live | None, means: Means, *, save_rows: bool = False) -> Reversal:
    """The way back of any script, for the database as it is; it is only read.

    Args:
        text: The script.
        source: What messages call it.
        live: A database in the state before the script; None when there is none to look at.
        means: What may be used for the proof.
        save_rows: Whether rows that are touched shall be saved before.

    Raises:
        InvalidInputError: The script cannot be read.
        MigrationFailedError: It fails on the scratch copy.
    """
    script = Script(
        source=source,
        statements=split_statements(text, source=source),
        schema=_schema(live, means),
        save_as=Path(source).stem if save_rows else "",
    )
    if live is None:
        why = "there is no database in the state before the script to look at (--env, --url or DATABASE_URL)"
        return reverse_by_text(script, None, why=why)
    check_identity(read_identity(live.connection), live.target.expected, database=live.target.database)
    return _reverse(script, live, means, [], from_live=True)


def _schema(live: Live | None, means: Means) -> str:
    return live.target.schema if live else means.schema


def _script(migration: Migration, schema: str, *, save_as: str = "") -> Script:
    source = migration.labels.up
    statements = split_statements(migration.up_sql, source=source)
    return Script(source=source, statements=statements, schema=schema, save_as=save_as)


def _applied(live: Live | None) -> dict[str, HistoryRow]:
    if live is None:
        return {}
    check_identity(read_identity(live.connection), live.target.expected, database=live.target.database)
    history = read_history(live.connection, live.target.schema)
    return {**history.applied(), **history.half_done()}


def _reverse(
    script: Script, live: Live | None, means: Means, earlier: Sequence[Migration], *, from_live: bool
) -> Reversal:
    """With a proof where a scratch server is to be had; else by the text, and the catalogue where it is the old one."""
    try:
        return _proved(script, live, means, earlier, from_live=from_live)
    except (CouldNotVerifyError, EmbeddedServerError, InvalidInputError) as exc:
        definitions = None
        if live is not None and from_live and not earlier:
            work_in_schema(live.connection, script.schema)
            definitions = Catalogue(live.connection, access=live.access, programs=_programs(live, means))
        return reverse_by_text(script, definitions, why=exc.message)


def _proved(
    script: Script, live: Live | None, means: Means, earlier: Sequence[Migration], *, from_live: bool
) -> Reversal:
    entries: tuple[Entry, ...] | None = None
    if live is not None and from_live:
        entries = dump_schema(live.access, live.target.database, _programs(live, means))
    with ExitStack() as stack:
        databases = stack.enter_context(_databases(live, means, stack))
        return reverse_with_proof(script, databases, lambda: _state_before(script, databases, entries, earlier))


def _state_before(
    script: Script, databases: ScratchDatabases, entries: Sequence[Entry] | None, earlier: Sequence[Migration]
) -> str:
    """A scratch database: the schema of the live one, or nothing, and then the versions before the script."""
    name = databases.empty()
    with databases.open(name, schema=script.schema) as connection:
        if entries is not None:
            copy_schema(entries, connection)
        elif script.schema != "public":
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(script.schema)))
        for migration in earlier:
            _refuse_program(migration)
            for statement in _script(migration, script.schema).statements:
                run_forward(connection, statement, Reverse())
    return name


def _refuse_program(migration: Migration) -> None:
    if migration.program is not None:
        raise CouldNotVerifyError(
            f"{migration.labels.up} comes before it and is a program, so the state before the script cannot be made",
            hint="generate the way back while the version is pending: then the database itself is that state",
        )


def _programs(live: Live, means: Means) -> ClientPrograms:
    return find_programs(explicit=means.programs, server_major=_major(live))


def _major(live: Live | None) -> int:
    return live.connection.info.server_version // 10000 if live else find_runtime().major


def _databases(live: Live | None, means: Means, stack: ExitStack) -> ScratchDatabases:
    if means.scratch is not None:
        return ScratchDatabases(named_server(means.scratch, programs=means.programs))
    server = stack.enter_context(scratch_server(_major(live), prefix="reverse", programs=means.programs))
    databases = ScratchDatabases(server)
    if live is not None:
        databases.act_as(*read_roles(live.connection))
    return databases


def _with_drift(found: Reversal, live: Live) -> Reversal:
    """What differs between the database and what the script left on the scratch copy."""
    if found.after is None:
        return found
    there = digest_schema(live.connection, schema=live.target.schema)
    return replace(found, drift=tuple(sorted(f"{kind} {name}" for kind, name in differing_objects(found.after, there))))
