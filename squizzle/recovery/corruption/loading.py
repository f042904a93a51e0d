"""Making a new database, beside the damaged one or elsewhere, of everything that was saved; compared by counting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import psycopg
from psycopg import sql

from squizzle.errors import CouldNotVerifyError, RefusedError, ToolError
from squizzle.headway import Unit, counted, stretch
from squizzle.postgres.access import CONTROL_DATABASE, Connection, ServerAccess, connect, conninfo_database
from squizzle.postgres.client_run import run_client
from squizzle.postgres.database_properties import DatabaseProperties, read_properties
from squizzle.postgres.programs import ClientPrograms, find_programs
from squizzle.postgres.translation import server_words, translate_error
from squizzle.recovery.corruption.reading import hash_of
from squizzle.recovery.corruption.records import Examination, Loaded, LoadedTable, SavedTable
from squizzle.recovery.corruption.salvage import DUMP_FOLDER
from squizzle.recovery.new_database import is_taken, unfinished_database
from squizzle.recovery.single_flight import lock_recovery

BESIDE = "squizzle_corruption"
"""The schema of the new database with doubtful rows, lost keys and lost values."""

_TIMEOUT = timedelta(hours=24)
_CHUNK_BYTES = 1 << 20
# pg_restore goes on behind such an error as behind any other, and all that follows is missing.
_SERVER_IS_GONE = ("server closed the connection", "no connection to the server", "terminating connection")
_READS_ALIKE = "SET datestyle = ISO; SET intervalstyle = postgres"
Say = Callable[[str], None]


def database_name(found: Examination) -> str:
    """What the new database is called unless somebody says otherwise."""
    ending = f"__salvaged_{found.at:%Y%m%dt%H%M%S}"
    # PostgreSQL cuts a name at 63 bytes, and a cut one would be somebody else's.
    return found.database.encode()[: 63 - len(ending)].decode(errors="ignore") + ending


def load_salvage(
    access: ServerAccess, found: Examination, into: str, *, programs: Path | None = None, say: Say = lambda _text: None
) -> Loaded:
    """Make a database of what an examination saved, and count its rows. No other database is changed.

    Nobody else gets in before it is whole; one that a run left half which died is made anew.

    Args:
        access: The server that it is made on; one that can be trusted, if there is one.
        found: The examination, with the rest of the database.
        into: The new database's name.
        programs: Folder of client programs that the user named.
        say: Told what happens.

    Returns:
        What is in it, and what could not be brought along.

    Raises:
        RefusedError: There is no rest of the database to make one of, or the catalogue is damaged. No database was
            made.
        CouldNotVerifyError: A file is not what the examination wrote. No database was made.
        LockTimeoutError: Somebody else makes or recovers a database of this name. Nothing was made.
        ToolError, DatabaseError: It could not be made; what was made of it was dropped.
    """
    _refuse_unusable(found)
    with connect(access, CONTROL_DATABASE, purpose="load salvage") as control:
        major = control.info.server_version // 10000
        fitting = find_programs(explicit=programs, server_major=major)
        lock_recovery(control, into)
        like = _properties(control, found.database, into)
        source = f"what could be read of {found.database}"
        with unfinished_database(control, into=into, like=like, source=source, private=True):
            loaded = _fill(access, found, into, fitting, say)
            _let_in(control, into, found)
    return loaded


def _refuse_unusable(found: Examination) -> None:
    if found.catalogue_is_damaged:
        raise RefusedError(
            f"the catalogue of {found.database} is damaged: a database made of it would look whole and be wrong",
            hint="restore the whole cluster from a backup",
        )
    if not found.dump:
        raise RefusedError(
            "the rest of the database was not saved, so no whole one can be made",
            hint="examine again with the rest; " + "; ".join(found.doubts),
        )
    for one in found.saved:
        if hash_of(found.folder / one.rows_file) != one.rows_sha256:
            raise CouldNotVerifyError(
                f"{found.folder / one.rows_file} is not what the examination wrote", hint="examine again"
            )


def _properties(control: Connection, database: str, into: str) -> DatabaseProperties:
    """Encoding and locale of the damaged database where it is here, too; else those of a new one."""
    if is_taken(control, into):
        raise RefusedError(f"a database {into!r} exists already", hint="name another one")
    try:
        there = control.execute("SELECT FROM pg_database WHERE datname = %s", (database,)).fetchone()
        return read_properties(control, database if there is not None else "template0")
    except psycopg.Error as exc:
        raise translate_error(exc, doing=f"see what {into} has to be like") from exc


def _let_in(control: Connection, into: str, found: Examination) -> None:
    """It is whole: the comment says what it is, and everybody gets in who gets into a new database."""
    text = f"squizzle: what could be read of the damaged {found.database} on {found.at:%Y-%m-%d %H:%M} UTC"
    name = sql.Identifier(into)
    try:
        with control.transaction():
            control.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(name, sql.Literal(text)))
            control.execute(sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO PUBLIC").format(name))
    except psycopg.Error as exc:
        raise translate_error(exc, doing=f"let clients into {into}") from exc


def _fill(access: ServerAccess, found: Examination, into: str, programs: ClientPrograms, say: Say) -> Loaded:
    problems: list[str] = []
    for section in ("pre-data", "data"):
        say(f"restoring {section} into {into}")
        with stretch(f"restoring {section} into {into}"):
            problems += _restore(access, found, into, programs, section)
    tables = []
    with connect(access, into, purpose="load salvage") as connection:
        try:
            connection.execute(_READS_ALIKE)
            _make_beside(connection, found)
            for one in counted(found.saved, "loading what was saved", unit=Unit.TABLES):
                say(f"loading {one.rows:,} rows into {one.table}")
                tables.append(_load_table(connection, found.folder, one, problems))
        except psycopg.Error as exc:
            raise translate_error(exc, doing=f"load the salvaged rows into {into}") from exc
    say("making indexes and constraints")
    with stretch("making indexes and constraints"):
        problems += _restore(access, found, into, programs, "post-data")
    with connect(access, into, purpose="load salvage") as connection:
        try:
            problems += _complete_constraints(connection, found)
            connection.execute("ANALYZE")
        except psycopg.Error as exc:
            raise translate_error(exc, doing=f"complete {into}") from exc
    return Loaded(database=into, tables=tuple(tables), problems=tuple(problems))


def _restore(access: ServerAccess, found: Examination, into: str, programs: ClientPrograms, section: str) -> list[str]:
    """Run one section to its end: an index that cannot be made must not keep the others away."""
    try:
        run_client(
            programs.path("pg_restore"),
            [
                f"--section={section}",
                "--no-password",
                *(["--jobs=2"] if section != "pre-data" else []),
                f"--dbname={conninfo_database(into)}",
                str(found.folder / DUMP_FOLDER),
            ],
            access=access,
            database=into,
            doing=f"restore {section} into {into}",
            timeout=_TIMEOUT,
        )
    except ToolError as exc:
        if "errors ignored on restore" not in exc.stderr_tail or any(one in exc.stderr_tail for one in _SERVER_IS_GONE):
            raise
        lines = [one.partition("error:")[2].strip() for one in exc.stderr_tail.splitlines() if "error:" in one]
        return [one.removeprefix("could not execute query: ERROR:").strip() for one in lines]
    return []


def _load_table(connection: Connection, folder: Path, one: SavedTable, problems: list[str]) -> LoadedTable:
    table = sql.Identifier(one.schema, one.name)
    for column in sorted({value.column for value in one.lost_values}):
        row = connection.execute(
            "SELECT attnotnull FROM pg_attribute WHERE attrelid = %s::regclass AND attname = %s", (one.table, column)
        ).fetchone()
        if row == (True,):
            connection.execute(
                sql.SQL("ALTER TABLE {} ALTER COLUMN {} DROP NOT NULL").format(table, sql.Identifier(column))
            )
            problems.append(
                f"{one.table}.{column} lost NOT NULL: values of it are lost; set it again when they are back"
            )
    _copy_in(connection, table, one.columns, folder / one.rows_file)
    row = connection.execute(sql.SQL("SELECT count(*) FROM ONLY {}").format(table)).fetchone()
    doubtful = _load_doubtful(connection, folder, one, problems) if one.doubtful else 0
    return LoadedTable(table=one.table, expected=one.rows, found=int(row[0]) if row else 0, doubtful=doubtful)


def _copy_in(connection: Connection, table: sql.Composable, columns: Sequence[str], file: Path) -> None:
    command = sql.SQL("COPY {} ({}) FROM STDIN").format(table, sql.SQL(", ").join(map(sql.Identifier, columns)))
    with connection.cursor() as cursor, file.open("rb") as rows, cursor.copy(command) as copy:
        while chunk := rows.read(_CHUNK_BYTES):
            copy.write(chunk)


def _make_beside(connection: Connection, found: Examination) -> None:
    schema = sql.Identifier(BESIDE)
    connection.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
    connection.execute(sql.SQL('CREATE TABLE {}.lost_key ("table" text NOT NULL, key text)').format(schema))
    connection.execute(
        sql.SQL('CREATE TABLE {}.lost_value ("table" text NOT NULL, row text, "column" text, why text)').format(schema)
    )
    with connection.cursor() as cursor:
        with cursor.copy(sql.SQL("COPY {}.lost_key FROM STDIN").format(schema)) as copy:
            for one in found.saved:
                for key in one.lost or ():
                    copy.write_row((one.table, key))
        with cursor.copy(sql.SQL("COPY {}.lost_value FROM STDIN").format(schema)) as copy:
            for value in (value for one in found.saved for value in one.lost_values):
                copy.write_row((value.table, value.row, value.column, value.why))


def _load_doubtful(connection: Connection, folder: Path, one: SavedTable, problems: list[str]) -> int:
    """Rows of damaged pages go beside the table, each by itself: what is in them may not even be readable."""
    beside = sql.Identifier(BESIDE, f"{one.schema}.{one.name}")
    columns = sql.SQL(", ").join(map(sql.Identifier, one.columns))
    connection.execute(
        sql.SQL("CREATE TABLE {} AS SELECT {} FROM {} WITH NO DATA").format(
            beside, columns, sql.Identifier(one.schema, one.name)
        )
    )
    command = sql.SQL("COPY {} ({}) FROM STDIN").format(beside, columns)
    taken = 0
    with (folder / one.doubtful_file).open("rb") as rows:
        for line in rows:
            try:
                with connection.transaction(), connection.cursor() as cursor, cursor.copy(command) as copy:
                    copy.write(line)
                taken += 1
            except psycopg.DataError as exc:
                problems.append(
                    f"a doubtful row of {one.table} makes no sense ({server_words(exc)}); it is in the file"
                )
    return taken


def _complete_constraints(connection: Connection, found: Examination) -> list[str]:
    """Make foreign keys that orphans keep away for new rows at least, and say which."""
    problems = []
    for one in found.constraints:
        try:
            row = connection.execute(
                "SELECT EXISTS (SELECT FROM pg_constraint WHERE conrelid = to_regclass(%s) AND conname = %s)",
                (one.table, one.name),
            ).fetchone()
            if row == (True,):
                continue
            # Table and definition are the server's own text.
            connection.execute(
                sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {} NOT VALID").format(
                    sql.SQL(one.table), sql.Identifier(one.name), sql.SQL(one.definition.removesuffix(" NOT VALID"))
                )
            )
            problems.append(
                f"foreign key {one.name} of {one.table} is NOT VALID: rows that it refers to are lost;"
                " VALIDATE CONSTRAINT when they are back"
            )
        except psycopg.Error as exc:
            if connection.closed:
                raise
            problems.append(f"foreign key {one.name} of {one.table} is missing: {server_words(exc)}")
    return problems
