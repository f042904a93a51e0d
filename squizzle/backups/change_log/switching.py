"""Switching the change log on and off for a table: short tries for its locks, each table in one transaction."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
from psycopg import sql

from squizzle.backups.change_log.judging import why_not
from squizzle.backups.change_log.reading import LOG_TABLES, is_installed, read_table, read_triggers, require_table
from squizzle.backups.change_log.records import TableState, Trigger
from squizzle.backups.change_log.trust import is_as_installed, refuse_stranger
from squizzle.errors import DatabaseState, InvalidInputError, RefusedError
from squizzle.migrations.records import Timeouts
from squizzle.migrations.session import exclusive, prepare_session, set_lock_timeout
from squizzle.migrations.tries import LockTries
from squizzle.migrations.watch import watching
from squizzle.postgres.access import Connection
from squizzle.postgres.identity import Target
from squizzle.postgres.own_tables import ensure_tables
from squizzle.postgres.sql_files import load_sql
from squizzle.postgres.translation import translate_error

ROW_TRIGGER = "squizzle_log_row"
TRUNCATE_TRIGGER = "squizzle_log_truncate"
_FUNCTIONS = {ROW_TRIGGER: "log_row", TRUNCATE_TRIGGER: "log_truncate"}
_EVENTS = {
    ROW_TRIGGER: sql.SQL("AFTER INSERT OR UPDATE OR DELETE"),
    TRUNCATE_TRIGGER: sql.SQL("BEFORE TRUNCATE"),
}
_NEEDS = "ownership of the table, and CREATE on the database or ownership of squizzle_log"


def enable(
    connection: Connection,
    target: Target,
    tables: tuple[tuple[str, str], ...],
    *,
    on_wait: Callable[[str], None],
    timeouts: Timeouts | None = None,
) -> None:
    """Log every change of these tables from now on; those that are logged already are mended where needed.

    Takes SHARE ROW EXCLUSIVE on each table and its partitions for a moment: readers go on, writers wait, never longer
    than `timeouts.lock` behind us. Each table is one transaction; those before a failure stay logged.

    Args:
        connection: A session in the database, in autocommit mode.
        target: Who the caller means.
        tables: (schema, name) of each.
        on_wait: Told about every try whose lock was not granted.
        timeouts: How long and how often to try; None for the house's.

    Raises:
        InvalidInputError: No such table; nothing was changed.
        RefusedError: One cannot be logged, and why; nothing was changed.
        LockTimeoutError, DatabaseError: As their `database_state` says.
    """
    with exclusive(connection, target):
        refuse_stranger(connection)
        for schema, name in tables:
            refuse_unfit_table(require_table(connection, schema, name))
        _each(connection, target, tables, _enable_one, on_wait, timeouts or Timeouts())


def disable(
    connection: Connection,
    target: Target,
    tables: tuple[tuple[str, str], ...],
    *,
    on_wait: Callable[[str], None],
    timeouts: Timeouts | None = None,
) -> None:
    """Log these tables no longer; what was logged stays. Takes ACCESS EXCLUSIVE on each for a moment.

    Args, errors: As for `enable`; a table that is not logged is an InvalidInputError.
    """
    with exclusive(connection, target):
        known = {(one.schema, one.table) for one in read_triggers(connection)}
        names = _names_of_entries(connection)
        for schema, name in tables:
            if (schema, name) not in known | names:
                raise InvalidInputError(
                    f"{schema}.{name} is not logged", hint="`squizzle changelog status` lists what is"
                )
        _each(connection, target, tables, _disable_one, on_wait, timeouts or Timeouts())


def refuse_unfit_table(table: TableState) -> None:
    """Refuse a table that cannot be logged.

    Raises:
        RefusedError: Why, and what to do.
    """
    reason = why_not(table)
    if reason is not None:
        raise RefusedError(f"{table.schema}.{table.name} {reason[0]}", hint=f"{reason[1]}; nothing was changed")


def install(connection: Connection) -> None:
    """Make the schema squizzle_log with what belongs into it, or what is missing or not this version's of it.

    Inside the caller's transaction.

    Raises:
        RefusedError: A part of it is a stranger's.
        psycopg.Error: No right to.
    """
    refuse_stranger(connection)
    ensure_tables(connection, LOG_TABLES)
    if not is_as_installed(connection):
        connection.execute(load_sql("squizzle.backups.change_log", "install"))
        refuse_stranger(connection)


def _each(
    connection: Connection,
    target: Target,
    tables: tuple[tuple[str, str], ...],
    work: Callable[[Connection, str, str], None],
    on_wait: Callable[[str], None],
    timeouts: Timeouts,
) -> None:
    prepare_session(connection, schema=target.schema, timeouts=timeouts)
    state = DatabaseState.UNTOUCHED
    with watching(connection, on_wait) as watch:
        for schema, name in tables:

            def attempt(schema: str = schema, name: str = name, state: DatabaseState = state) -> None:
                if watch:
                    watch.statement_begins()
                try:
                    with connection.transaction():
                        set_lock_timeout(connection, timeouts.lock, local=True)
                        work(connection, schema, name)
                except psycopg.Error as exc:
                    doing = f"change what is logged of {schema}.{name}"
                    raise translate_error(exc, doing=doing, database_state=state, needs=_NEEDS) from exc
                finally:
                    if watch:
                        watch.statement_ended()

            tries = LockTries(
                connection, timeouts, name=f"{schema}.{name}", next_step=_next_step, watch=watch, on_wait=on_wait
            )
            tries.until_granted(attempt, state=state)
            state = DatabaseState.CHANGED


def _next_step(state: DatabaseState) -> str:
    done = "nothing was changed" if state is DatabaseState.UNTOUCHED else "the tables before it are done"
    return f"{done}; run the same again"


def _enable_one(connection: Connection, schema: str, name: str) -> None:
    install(connection)
    # First the lock, so that nothing changes between what we read and what we make of it.
    connection.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(sql.Identifier(schema, name)))
    table = require_table(connection, schema, name)
    refuse_unfit_table(table)
    triggers = read_triggers(connection)
    logged, exact = _entry(connection, table)
    members = {table.id, *table.partitions}
    place = {one: _place(connection, one) for one in sorted(members)}
    _ensure(connection, ROW_TRIGGER, table.id, place[table.id], (logged, exact), triggers)
    for member in (table.id, *table.partitions):
        _ensure(connection, TRUNCATE_TRIGGER, member, place[member], (logged, exact), triggers)
    # Partitions have triggers of their own, which somebody may have switched off one by one.
    for one in triggers:
        if one.of_rows and one.table_id in members and one.table_id != table.id and one.enabled != "A":
            _enable_always(connection, place[one.table_id], ROW_TRIGGER)


def _place(connection: Connection, table_id: int) -> sql.Composable:
    row = connection.execute(
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.oid = %s::oid",
        (table_id,),
    ).fetchone()
    if row is None:
        raise AssertionError("a table vanished under its lock")
    return sql.Identifier(*row)


def _entry(connection: Connection, table: TableState) -> tuple[int, bool]:
    """The table's row in `logged_table`: the open one, or a new one."""
    row = connection.execute(
        "SELECT id, exact FROM squizzle_log.logged_table WHERE schema_name = %s AND table_name = %s"
        " AND disabled_at IS NULL",
        (table.schema, table.name),
    ).fetchone()
    if row is not None and bool(row[1]) == table.needs_exact:
        return row[0], bool(row[1])
    if row is not None:
        connection.execute("UPDATE squizzle_log.logged_table SET exact = %s WHERE id = %s", (True, row[0]))
        return row[0], True
    row = connection.execute(
        "INSERT INTO squizzle_log.logged_table"
        " (schema_name, table_name, key_columns, columns, exact, enabled_at, enabled_by)"
        " VALUES (%s, %s, %s, %s, %s, clock_timestamp(), session_user) RETURNING id",
        (table.schema, table.name, table.key_columns, table.columns, table.needs_exact),
    ).fetchone()
    if row is None:
        raise AssertionError("INSERT … RETURNING returned nothing")
    return row[0], table.needs_exact


def _ensure(
    connection: Connection,
    trigger: str,
    table_id: int,
    place: sql.Composable,
    arguments: tuple[int, bool],
    triggers: tuple[Trigger, ...],
) -> None:
    """Make a trigger, or what differs of it; nothing where all is well."""
    found = next(
        (one for one in triggers if one.table_id == table_id and one.of_rows == (trigger == ROW_TRIGGER)), None
    )
    if found is None or (found.logged, found.exact) != arguments:
        logged, exact = arguments
        connection.execute(
            sql.SQL(
                "CREATE OR REPLACE TRIGGER {} {} ON {} FOR EACH {} EXECUTE FUNCTION squizzle_log.{}({}, {})"
            ).format(
                sql.Identifier(trigger),
                _EVENTS[trigger],
                place,
                sql.SQL("ROW" if trigger == ROW_TRIGGER else "STATEMENT"),
                sql.Identifier(_FUNCTIONS[trigger]),
                sql.Literal(str(logged)),
                sql.Literal("exact" if exact else "json"),
            )
        )
    if found is None or found.enabled != "A" or (found.logged, found.exact) != arguments:
        _enable_always(connection, place, trigger)


def _enable_always(connection: Connection, place: sql.Composable, trigger: str) -> None:
    # ALWAYS: changes that logical replication applies, and those of session_replication_role = replica, count, too.
    connection.execute(sql.SQL("ALTER TABLE {} ENABLE ALWAYS TRIGGER {}").format(place, sql.Identifier(trigger)))


def _disable_one(connection: Connection, schema: str, name: str) -> None:
    table = read_table(connection, schema, name)
    members = {table.id, *table.partitions} if table else set()
    for one in read_triggers(connection):
        # A partition's row trigger goes with its parent's.
        if one.table_id in members and table and (not one.of_rows or one.table_id == table.id):
            connection.execute(
                sql.SQL("DROP TRIGGER {} ON {}").format(
                    sql.Identifier(ROW_TRIGGER if one.of_rows else TRUNCATE_TRIGGER),
                    sql.Identifier(one.schema, one.table),
                )
            )
            connection.execute(
                "UPDATE squizzle_log.logged_table SET disabled_at = clock_timestamp()"
                " WHERE id = %s AND disabled_at IS NULL",
                (one.logged,),
            )
    connection.execute(
        "UPDATE squizzle_log.logged_table SET disabled_at = clock_timestamp()"
        " WHERE schema_name = %s AND table_name = %s AND disabled_at IS NULL",
        (schema, name),
    )


def _names_of_entries(connection: Connection) -> set[tuple[str, str]]:
    if not is_installed(connection):
        return set()
    rows = connection.execute("SELECT schema_name, table_name FROM squizzle_log.logged_table WHERE disabled_at IS NULL")
    return {(schema, name) for schema, name in rows}
