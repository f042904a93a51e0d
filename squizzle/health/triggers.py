"""Switching off named triggers for a while, noting it, putting them back, and looking what got in meanwhile.

The note is a row of `squizzle.paused_trigger`, written by the transaction that switches off: whoever comes later knows
which mode to put back. It stays until the trigger is on and its foreign key was compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import class_row, dict_row

from squizzle.errors import DatabaseState, InvalidInputError, RefusedError
from squizzle.health.orphans import Compared, compare_key
from squizzle.health.trigger_plan import ForeignKey, Kind, Mode, Paused, PausePlan, Trigger
from squizzle.migrations.records import Timeouts
from squizzle.migrations.session import set_lock_timeout
from squizzle.migrations.tries import LockTries
from squizzle.migrations.watch import watching
from squizzle.postgres.access import Connection
from squizzle.postgres.identity import Target, check_identity, read_identity
from squizzle.postgres.own_scripts import OwnTables
from squizzle.postgres.own_tables import ensure_tables, find_tables
from squizzle.postgres.sql_files import load_sql
from squizzle.postgres.translation import translate_error

_PACKAGE = "squizzle.health"
_TABLES = OwnTables(package=_PACKAGE, script="paused_trigger")
_NEEDS = (
    "ownership of the table, for foreign keys a superuser, and CREATE on the database or, where"
    " squizzle.paused_trigger is there already, every right on it"
)
_COMMANDS = {
    Mode.ON: sql.SQL("ENABLE"),
    Mode.ALWAYS: sql.SQL("ENABLE ALWAYS"),
    Mode.REPLICA: sql.SQL("ENABLE REPLICA"),
    Mode.OFF: sql.SQL("DISABLE"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class PutBack:
    """What became of one trigger that was switched off.

    Attributes:
        paused: The note.
        found: The mode it was in; None when it is gone.
    """

    paused: Paused
    found: Mode | None

    def sentence(self) -> str:
        """What was done."""
        former = self.paused.former_mode
        if self.found is None:
            since = f"{self.paused.paused_at:%Y-%m-%d %H:%M}"
            return f"{self.paused.name} is gone: it was dropped or made anew since {since}, so nothing was put back"
        if self.found is former:
            return f"{self.paused.name} was {former.words} already: somebody put it back"
        return f"{self.paused.name} is {former.words} again; it was {self.found.words}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Resumed:
    """What was put back, and what got in while it was off.

    Attributes:
        triggers: Every trigger that was noted.
        keys: Every foreign key among them, compared.
    """

    triggers: tuple[PutBack, ...] = ()
    keys: tuple[Compared, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """Rows that break a key, and triggers that are gone."""
        gone = [one.sentence() for one in self.triggers if one.found is None]
        return (*(one.sentence() for one in self.keys if one.rows), *gone)


def read_triggers(connection: Connection, table_id: int | None = None) -> tuple[Trigger, ...]:
    """The triggers of a table and its partitions; of every table where none is given. Nothing is changed.

    Raises:
        DatabaseError: The session was lost.
    """
    try:
        with connection.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(load_sql(_PACKAGE, "triggers"), {"table": table_id}).fetchall()
        with connection.cursor(row_factory=class_row(ForeignKey)) as cursor:
            ids = sorted({row["key_id"] for row in rows if row["key_id"] is not None})
            found = cursor.execute(load_sql(_PACKAGE, "foreign_keys"), {"ids": ids}).fetchall()
    except psycopg.Error as exc:
        raise translate_error(exc, doing="read triggers") from exc
    keys = {one.id: one for one in found}
    return tuple(_trigger(row, keys) for row in rows)


def _trigger(row: dict[str, Any], keys: dict[int, ForeignKey]) -> Trigger:
    key = keys.get(row.pop("key_id"))
    return Trigger(**{**row, "mode": Mode(row["mode"]), "kind": Kind(row["kind"]), "key": key})


def find_table(connection: Connection, schema: str, name: str) -> tuple[str, str, int]:
    """Schema, name and number of a table. Nothing is changed.

    Raises:
        InvalidInputError: There is none.
    """
    row = connection.execute(
        "SELECT c.oid::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p')",
        (schema, name),
    ).fetchone()
    if row is None:
        raise InvalidInputError(
            f"there is no table {schema}.{name} in {connection.info.dbname}", hint="write TABLE or SCHEMA.TABLE"
        )
    return schema, name, int(row[0])


def is_superuser(connection: Connection) -> bool:
    """Whether this session is a superuser's."""
    return connection.execute("SELECT current_setting('is_superuser') = 'on'").fetchone() == (True,)


def read_paused(connection: Connection) -> tuple[Paused, ...]:
    """Every trigger that was switched off and noted, the oldest first. Nothing is changed.

    Raises:
        DatabaseError: The notes may not be read, or the session was lost.
    """
    try:
        if find_tables(connection, _TABLES) is None:
            return ()
        with connection.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(load_sql(_PACKAGE, "paused")).fetchall()
    except psycopg.Error as exc:
        raise translate_error(exc, doing="read which triggers are switched off", needs=_NEEDS) from exc
    triggers = read_triggers(connection) if rows else ()
    by_name = {(one.schema, one.table, one.name, one.function): one for one in triggers}
    by_id = {(one.table_id, one.id): one for one in triggers}
    return tuple(
        Paused(
            id=row["id"],
            trigger_id=row["trigger_id"],
            trigger=by_name.get((row["schema_name"], row["table_name"], row["trigger_name"], row["function_name"]))
            or by_id.get((row["table_id"], row["trigger_id"])),
            name=f"{row['trigger_name']} on {row['schema_name']}.{row['table_name']}",
            former_mode=Mode(row["former_mode"]),
            paused_at=row["paused_at"],
            paused_by=row["paused_by"],
            why=row["why"],
            until=row["until"],
            is_overdue=row["is_overdue"],
        )
        for row in rows
    )


def pause(
    connection: Connection, target: Target, plan: PausePlan, *, by: str, on_wait: Callable[[str], None]
) -> tuple[Paused, ...]:
    """Switch off the triggers of a plan and note it, in one transaction. Safe to repeat: the time is set anew.

    SHARE ROW EXCLUSIVE on the table and its partitions, for a moment and by short tries: readers go on, writers wait.

    Args:
        connection: A session of its own, in autocommit mode.
        target: Who the caller means.
        plan: What to switch off.
        by: Who does, for the note.
        on_wait: Told about every try whose lock was not granted.

    Returns:
        The notes of the plan's triggers.

    Raises:
        IdentityMismatchError: Another database than was meant; nothing was changed.
        RefusedError: A trigger is not what it was when the plan was made; nothing was changed.
        LockTimeoutError, DatabaseError: Nothing was changed.
    """

    def work() -> None:
        _take_notes(connection)
        wanted = (*plan.triggers, *plan.already_off)
        _lock({(one.schema, one.table) for one in wanted}, connection)
        now = {one.id: one for one in read_triggers(connection, plan.table_id)}
        for one in wanted:
            if now.get(one.id) != one:
                raise RefusedError(
                    f"{one} is not what it was when the plan was made, so nothing was switched off",
                    hint="run the same again: it makes another plan",
                )
        for one in plan.triggers:
            _set_mode(connection, one, Mode.OFF)
            _note(connection, one, plan, by)
        connection.execute(
            "UPDATE squizzle.paused_trigger SET until = clock_timestamp() + %s::interval, why = %s, paused_by = %s"
            " WHERE trigger_id = ANY(%s)",
            (plan.duration, plan.why, by, [one.id for one in plan.already_off]),
        )

    check_identity(read_identity(connection), target.expected, database=target.database)
    _until_granted(connection, work, f"{plan.schema}.{plan.table}", "switch off triggers", on_wait)
    meant = {one.id for one in (*plan.triggers, *plan.already_off)}
    return tuple(one for one in read_paused(connection) if one.trigger and one.trigger.id in meant)


def resume(
    connection: Connection,
    target: Target,
    *,
    table: tuple[str, str] | None = None,
    plan: PausePlan | None = None,
    only_overdue: bool = False,
    on_wait: Callable[[str], None],
) -> Resumed:
    """Put triggers back as they were, then compare the foreign keys among them; the notes go last. Safe to repeat.

    Whoever wrote without the triggers has ended when their lock is granted, so the comparison sees all of it. The note
    of a valid key that rows break stays, and the next call compares again.

    Args:
        connection: A session of its own, in autocommit mode.
        target: Who the caller means.
        table: Only those noted for this table or its partitions; None for all.
        plan: Only those of this plan; None for all.
        only_overdue: Only those whose time has passed.
        on_wait: Told about every try whose lock was not granted.

    Raises:
        IdentityMismatchError: Another database than was meant; nothing was changed.
        LockTimeoutError: Nothing was changed; the triggers are off.
        DatabaseError: Before the comparison nothing was changed; later the triggers are on, and their notes stay.
    """
    check_identity(read_identity(connection), target.expected, database=target.database)
    done: list[PutBack] = []

    def chosen() -> list[Paused]:
        notes = [one for one in read_paused(connection) if one.is_overdue or not only_overdue]
        if plan is not None:
            meant = {one.id for one in (*plan.triggers, *plan.already_off)}
            notes = [one for one in notes if one.trigger_id in meant]
        if table is not None:
            there = {one.id for one in read_triggers(connection, find_table(connection, *table)[2])}
            place = f" on {table[0]}.{table[1]}"
            notes = [one for one in notes if one.name.endswith(place) or (one.trigger and one.trigger.id in there)]
        return notes

    def work() -> None:
        done.clear()
        _take_notes(connection)
        _lock({(one.trigger.schema, one.trigger.table) for one in chosen() if one.trigger}, connection)
        for one in chosen():
            found = one.trigger.mode if one.trigger else None
            if one.trigger and found is not one.former_mode:
                _set_mode(connection, one.trigger, one.former_mode)
            done.append(PutBack(paused=one, found=found))

    if not chosen():
        return Resumed()
    _until_granted(connection, work, "the triggers", "put triggers back", on_wait)
    compared = _compare_keys(connection, done)
    return Resumed(triggers=tuple(done), keys=compared)


def _compare_keys(connection: Connection, done: Sequence[PutBack]) -> tuple[Compared, ...]:
    """Compare every foreign key among triggers that are on again; the notes of those that rows break stay."""
    notes = [one.paused for one in done]
    keys = {one.trigger.key.id: one.trigger.key for one in notes if one.trigger and one.trigger.key}
    compared = tuple(compare_key(connection, key) for key in keys.values())
    broken = {one.key.id for one in compared if one.rows and one.key.is_valid}
    _forget(
        connection, [one for one in notes if not (one.trigger and one.trigger.key and one.trigger.key.id in broken)]
    )
    return compared


def _forget(connection: Connection, notes: Sequence[Paused]) -> None:
    """Remove notes, but none of a trigger that was switched off again since."""
    try:
        with connection.cursor() as cursor:
            cursor.executemany(
                "DELETE FROM squizzle.paused_trigger WHERE id = %s AND paused_at = %s",
                [(one.id, one.paused_at) for one in notes],
            )
    except psycopg.Error as exc:
        raise translate_error(
            exc, doing="remove the notes of triggers that are on again", database_state=DatabaseState.CHANGED
        ) from exc


def _until_granted(
    connection: Connection, work: Callable[[], None], name: str, doing: str, on_wait: Callable[[str], None]
) -> None:
    timeouts = Timeouts()
    with watching(connection, on_wait) as watch:

        def attempt() -> None:
            if watch:
                watch.statement_begins()
            try:
                with connection.transaction():
                    set_lock_timeout(connection, timeouts.lock, local=True)
                    work()
            except psycopg.Error as exc:
                raise translate_error(exc, doing=doing, needs=_NEEDS) from exc
            finally:
                if watch:
                    watch.statement_ended()

        tries = LockTries(connection, timeouts, name=name, next_step=_next_step, watch=watch, on_wait=on_wait)
        tries.until_granted(attempt, state=DatabaseState.UNTOUCHED)


def _next_step(_state: DatabaseState) -> str:
    return "nothing was changed; run the same again"


def _take_notes(connection: Connection) -> None:
    """Make the table of the notes where it is missing, and let nobody else write to it until the transaction ends."""
    ensure_tables(connection, _TABLES)
    connection.execute("LOCK TABLE squizzle.paused_trigger IN SHARE ROW EXCLUSIVE MODE")


def _lock(tables: set[tuple[str, str]], connection: Connection) -> None:
    for schema, name in sorted(tables):
        place = sql.Identifier(schema, name)
        connection.execute(sql.SQL("LOCK TABLE ONLY {} IN SHARE ROW EXCLUSIVE MODE").format(place))


def _set_mode(connection: Connection, trigger: Trigger, mode: Mode) -> None:
    # ONLY: partitions have modes of their own, and each is set by itself.
    connection.execute(
        sql.SQL("ALTER TABLE ONLY {} {} TRIGGER {}").format(
            sql.Identifier(trigger.schema, trigger.table), _COMMANDS[mode], sql.Identifier(trigger.server_name)
        )
    )


def _note(connection: Connection, trigger: Trigger, plan: PausePlan, by: str) -> None:
    connection.execute(
        "INSERT INTO squizzle.paused_trigger (schema_name, table_name, trigger_name, function_name, table_id,"
        " trigger_id, former_mode, paused_by, why, until)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, clock_timestamp() + %s::interval)"
        " ON CONFLICT (schema_name, table_name, trigger_name, function_name) DO UPDATE SET"
        " table_id = excluded.table_id, trigger_id = excluded.trigger_id,"
        " former_mode = excluded.former_mode, paused_at = excluded.paused_at,"
        " paused_by = excluded.paused_by, why = excluded.why, until = excluded.until",
        (
            trigger.schema,
            trigger.table,
            trigger.name,
            trigger.function,
            trigger.table_id,
            trigger.id,
            trigger.mode.value,
            by,
            plan.why,
            plan.duration,
        ),
    )
