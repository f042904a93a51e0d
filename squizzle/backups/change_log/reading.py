"""Asking a database about its change log. Nothing is changed."""

from __future__ import annotations

from dataclasses import replace

import psycopg
from psycopg.rows import class_row

from squizzle.backups.change_log.judging import gaps_of
from squizzle.backups.change_log.records import LoggedTable, LogStatus, TableState, Trigger
from squizzle.errors import InvalidInputError
from squizzle.postgres.access import Connection
from squizzle.postgres.own_scripts import OwnTables
from squizzle.postgres.sql_files import load_sql
from squizzle.postgres.translation import translate_error

_PACKAGE = "squizzle.backups.change_log"
LOG_TABLES = OwnTables(package=_PACKAGE, script="log_tables")
NEEDS = "the rights of the owner of squizzle_log: nobody else may read the log"


def is_installed(connection: Connection) -> bool:
    """Whether the database has a change log at all."""
    return connection.execute("SELECT to_regproc('squizzle_log.log_truncate') IS NOT NULL").fetchone() == (True,)


def may_read(connection: Connection) -> bool:
    """Whether this account may read the log."""
    return connection.execute(
        "SELECT has_schema_privilege('squizzle_log', 'USAGE') AND has_table_privilege('squizzle_log.change', 'SELECT')"
        " AND has_sequence_privilege('squizzle_log.change_id_seq', 'SELECT')"
    ).fetchone() == (True,)


def read_table(connection: Connection, schema: str, name: str) -> TableState | None:
    """One table as it is now; None when nothing has that name.

    Args:
        connection: A session in the database.
        schema: Its exact schema.
        name: Its exact name.
    """
    with connection.cursor(row_factory=class_row(TableState)) as cursor:
        return cursor.execute(load_sql(_PACKAGE, "table_state"), {"schema": schema, "table": name}).fetchone()


def list_tables(connection: Connection, schema: str) -> tuple[TableState, ...]:
    """Every table of a schema that is not a partition, in the order of names, those that cannot be logged too."""
    rows = connection.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(quote_ident(%s))"
        " AND relkind IN ('r', 'p') AND NOT relispartition AND NOT starts_with(relname, 'squizzle_history') ORDER BY 1",
        (schema,),
    ).fetchall()
    found = (read_table(connection, schema, name) for (name,) in rows)
    return tuple(one for one in found if one is not None)


def require_table(connection: Connection, schema: str, name: str) -> TableState:
    """As `read_table`.

    Raises:
        InvalidInputError: Nothing has that name.
    """
    table = read_table(connection, schema, name)
    if table is None:
        raise InvalidInputError(
            f"there is no table {schema}.{name} in {connection.info.dbname}",
            hint="names are exact, upper and lower case count; --schema says where it is",
        )
    return table


def read_triggers(connection: Connection) -> tuple[Trigger, ...]:
    """Every trigger of the change log in this database."""
    rows = connection.execute(load_sql(_PACKAGE, "triggers")).fetchall()
    return tuple(
        Trigger(
            table_id=table_id,
            schema=schema,
            table=table,
            kind=kind,
            of_rows=of_rows,
            enabled=enabled,
            logged=logged,
            exact=exact,
        )
        for table_id, schema, table, kind, of_rows, enabled, logged, exact in rows
    )


def coverage(connection: Connection) -> tuple[LoggedTable, ...]:
    """Which tables are logged since when, and what is missing of each; those that no longer are come last.

    Raises:
        DatabaseError: No right to read the log.
    """
    if not is_installed(connection):
        return ()
    try:
        with connection.cursor(row_factory=class_row(LoggedTable)) as cursor:
            entries = cursor.execute(
                "SELECT id, schema_name AS schema, table_name AS table, key_columns, columns, exact,"
                " enabled_at AS since, enabled_by, disabled_at AS until"
                " FROM squizzle_log.logged_table ORDER BY disabled_at DESC NULLS FIRST, schema_name, table_name"
            ).fetchall()
        triggers = read_triggers(connection)
        return tuple(_with_gaps(connection, one, triggers) for one in entries)
    except psycopg.Error as exc:
        raise translate_error(exc, doing="read the change log", needs=NEEDS) from exc


def _with_gaps(connection: Connection, logged: LoggedTable, triggers: tuple[Trigger, ...]) -> LoggedTable:
    table = read_table(connection, logged.schema, logged.table)
    return replace(logged, gaps=gaps_of(logged, table, [one for one in triggers if one.logged == logged.id]))


def read_log_status(connection: Connection) -> LogStatus:
    """What is logged, what is missing, and how large the log is.

    Raises:
        DatabaseError: No right to read the log.
    """
    tables = coverage(connection)
    if not is_installed(connection):
        return LogStatus()
    try:
        row = connection.execute(
            "SELECT pg_total_relation_size('squizzle_log.change'),"
            " (SELECT n_live_tup FROM pg_stat_user_tables WHERE relid = 'squizzle_log.change'::regclass),"
            " (SELECT logged_at FROM squizzle_log.change ORDER BY id LIMIT 1)"
        ).fetchone()
    except psycopg.Error as exc:
        raise translate_error(exc, doing="read the change log", needs=NEEDS) from exc
    if row is None:
        raise AssertionError("a SELECT without FROM returned no row")
    return LogStatus(tables=tables, size_bytes=row[0], rows=row[1] or 0, oldest=row[2])
