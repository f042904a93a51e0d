"""Saving rows around the statement that touches them, and bringing them back. Pure.

Saved rows lie in the schema squizzle_undo, one table for each table that a statement touches, until the way back has
used them. Values of types that are not PostgreSQL's own are kept as text: a script that drops a column often drops its
type behind it, and a saved column of that type would stand in the way.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from squizzle.migrations.reversal.context import Context
from squizzle.migrations.reversal.definitions import Column, Counter, Definitions, Relation, Switch
from squizzle.migrations.reversal.records import SavedTable, Saving
from squizzle.migrations.reversal.trees import literal, quoted

SCHEMA = "squizzle_undo"
MAKE_SCHEMA = f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"
_LONGEST = 63
_WORD = re.compile(r"[^A-Za-z0-9_]+")
_HASH_LETTERS = 8
# What triggers fire on: TRIGGER_TYPE_INSERT and its like in catalog/pg_trigger.h.
INSERT, DELETE, UPDATE, TRUNCATE = 4, 8, 16, 32
_FIRES = {"O": "ENABLE", "A": "ENABLE ALWAYS"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Saved:
    """How rows are saved, and what brings them back.

    Attributes:
        saving: What runs around the statement.
        restore: What brings the rows back, in order.
        loss: What does not come back, as a sentence; empty for nothing.
    """

    saving: Saving
    restore: tuple[str, ...]
    loss: str = ""


NOTHING = Saved(saving=Saving(), restore=())


def saved_name(context: Context, table: str) -> str:
    """The quoted name of the table for the rows that a statement touches: `squizzle_undo."0007_3_orders"`.

    A name that would be longer than PostgreSQL keeps, or that would lose letters, ends with a hash of the whole one, so
    that two tables never share one place.
    """
    whole = f"{context.save_as}_{context.number}_{table}"
    bare = table.removeprefix("public.").replace('"', "")
    name = "_".join(_WORD.sub("_", part) for part in (context.save_as, str(context.number), bare))
    if len(name) > _LONGEST or name != f"{context.save_as}_{context.number}_{bare}":
        digest = hashlib.sha256(whole.encode()).hexdigest()[:_HASH_LETTERS]
        name = f"{name[: _LONGEST - _HASH_LETTERS - 1]}_{digest}"
    return f"{SCHEMA}.{quoted(name)}"


def fill(where: str, query: str) -> tuple[str, ...]:
    """The statements that put the rows of a query into a table of saved rows, which a batch before may have made."""
    return (f"CREATE TABLE IF NOT EXISTS {where} AS {query} WITH NO DATA", f"INSERT INTO {where} {query}")


def kept_value(column: Column, alias: str = "") -> str:
    """The value of a column as it is kept."""
    name = f"{alias}.{quoted(column.name)}" if alias else quoted(column.name)
    return name if column.built_in else f"{name}::text"


def kept_values(columns: tuple[Column, ...], alias: str = "") -> str:
    """The values of columns as they are kept, each under its own name."""
    return ", ".join(
        kept_value(one, alias) if one.built_in else f"{kept_value(one, alias)} AS {quoted(one.name)}" for one in columns
    )


def old_value(column: Column, alias: str = "saved") -> str:
    """A kept value as one of the column's type again."""
    name = f"{alias}.{quoted(column.name)}"
    return name if column.built_in else f"{name}::{column.type}"


def old_values(columns: tuple[Column, ...]) -> str:
    """Kept values as a list."""
    return ", ".join(old_value(one) for one in columns)


def same_key(key: tuple[Column, ...], alias: str = "saved") -> str:
    """The condition under which a row of the table (`t`) is the one that was saved."""
    return " AND ".join(f"t.{quoted(one.name)} = {old_value(one, alias)}" for one in key)


def key_of(relation: Relation) -> tuple[Column, ...]:
    """The columns that tell a row from all others."""
    return tuple(one for one in relation.columns if one.name in relation.row_key)


def stored(relation: Relation) -> tuple[Column, ...]:
    """The columns that can be written."""
    return tuple(one for one in relation.columns if not one.generated)


def names_of(columns: tuple[Column, ...]) -> str:
    """Their quoted names as a list."""
    return ", ".join(quoted(one.name) for one in columns)


def overriding(relation: Relation) -> str:
    """What INSERT has to say when it writes identity columns."""
    return " OVERRIDING SYSTEM VALUE" if any(column.identity for column in relation.columns) else ""


def firing(relation: Relation, event: int) -> tuple[Switch, ...]:
    """The triggers that a client's statement fires on an event."""
    return tuple(one for one in relation.triggers if not one.internal and one.enabled in _FIRES and one.events & event)


def without_triggers(
    table: str, relation: Relation, event: int, *statements: str, missing: str = ""
) -> tuple[str, ...]:
    """Statements that bring rows back while no trigger fires: what those did on the way there is in the rows already.

    Args:
        table: As the statement names it.
        relation: The same.
        event: What these statements do to it.
        statements: What to run.
        missing: A column that is not there yet with what depends on it.
    """
    loud = [one for one in firing(relation, event) if missing not in one.uses]
    if not loud:
        return statements
    return (
        *(f"ALTER TABLE {table} DISABLE TRIGGER {quoted(one.name)}" for one in loud),
        *statements,
        # A table with checks that still wait cannot be altered.
        "SET CONSTRAINTS ALL IMMEDIATE",
        *(f"ALTER TABLE {table} {_FIRES[one.enabled]} TRIGGER {quoted(one.name)}" for one in loud),
    )


def save_table(definitions: Definitions, table: str, context: Context, *, stays: bool, positions: bool) -> Saved:
    """Keep all rows of a table.

    The lock that the statement itself will take comes first, so that nobody changes a row between the two.

    Args:
        definitions: Of the database before the statement.
        table: Its name, quoted.
        context: What earlier statements did.
        stays: Whether the table itself stays, with its triggers.
        positions: Whether the positions of the sequences that its columns count with are lost, too.
    """
    relation = definitions.relation(table)
    if relation is None:
        return NOTHING
    columns, where = stored(relation), saved_name(context, table)
    source = table if relation.kind == "p" else f"ONLY {table}"
    before = [
        MAKE_SCHEMA,
        f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE",
        *fill(where, f"SELECT {kept_values(columns)} FROM {source}"),
    ]
    into = f"INSERT INTO {table} ({names_of(columns)}){overriding(relation)}"
    back = f"{into} SELECT {old_values(columns)} FROM {where} AS saved"
    restore = [*(without_triggers(table, relation, INSERT, back) if stays else (back,)), f"DROP TABLE {where}"]
    tables = [SavedTable(table=table, name=where)]
    for counter in relation.sequences if positions else ():
        kept = saved_name(context, counter.name)
        before += fill(kept, f"SELECT last_value, is_called FROM {counter.name}")
        restore += [_position_back(counter, kept), f"DROP TABLE {kept}"]
        tables.append(SavedTable(table=counter.name, name=kept))
    return Saved(saving=Saving(before=tuple(before), tables=tuple(tables)), restore=tuple(restore))


def _position_back(sequence: Counter, kept: str) -> str:
    """The old position, unless rows that came since have counted further."""
    further = "saved.last_value > t.last_value" if sequence.increment > 0 else "saved.last_value < t.last_value"
    position = f"pg_catalog.setval({literal(sequence.name)}, saved.last_value, saved.is_called)"
    return f"SELECT {position} FROM {kept} AS saved, {sequence.name} AS t WHERE {further} OR NOT t.is_called"


def save_column(relation: Relation, name: str, column: Column, context: Context) -> Saved:
    """Keep the values of one column by key; the table must have one.

    Args:
        relation: The table.
        name: As the statement calls it.
        column: Which.
        context: What earlier statements did.
    """
    key = key_of(relation)
    where = saved_name(context, f"{name}_{column.name}")
    query = f"SELECT {kept_values((*key, column))} FROM {name}"
    before = (MAKE_SCHEMA, f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE", *fill(where, query))
    set_old = f"UPDATE {name} AS t SET {quoted(column.name)} = {old_value(column)}"
    back = f"{set_old} FROM {where} AS saved WHERE {same_key(key)}"
    restore = (*without_triggers(name, relation, UPDATE, back, missing=column.name), f"DROP TABLE {where}")
    return Saved(saving=Saving(before=before, tables=(SavedTable(table=name, name=where),)), restore=restore)
