"""Saving rows right before a statement touches them, and bringing them back. Pure.

Saved rows lie in the schema squizzle_undo, one table a statement, until the way back has used them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from squizzle.migrations.reversal.context import Context
from squizzle.migrations.reversal.definitions import Definitions, Relation
from squizzle.migrations.reversal.trees import literal, quoted

SCHEMA = "squizzle_undo"
_LONGEST = 63
_WORD = re.compile(r"[^A-Za-z0-9_]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Saved:
    """What to run before the statement, and what brings the rows back."""

    save: tuple[str, ...]
    restore: tuple[str, ...]


def saved_name(context: Context, table: str, *, part: int = 1) -> str:
    """The quoted name of the table for the rows that a statement touches: `squizzle_undo."0007_3_orders"`."""
    bare = _WORD.sub("_", table.rsplit(".", 1)[-1]).strip("_")
    suffix = f"_{part}" if part > 1 else ""
    name = f"{context.save_as}_{context.number}_{bare}"
    return f"{SCHEMA}.{quoted(name[: _LONGEST - len(suffix)] + suffix)}"


def save_query(context: Context, table: str, query: str, *, part: int = 1) -> tuple[str, ...]:
    """The statements that keep the rows of a query."""
    where = saved_name(context, table, part=part)
    return (f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}", f"CREATE TABLE {where} AS {query}")


def stored_columns(relation: Relation) -> str:
    """The columns that can be written, as a list."""
    return ", ".join(quoted(column.name) for column in relation.columns if not column.generated)


def save_table(definitions: Definitions, table: str, context: Context, *, part: int = 1) -> Saved:
    """Keep all rows of a table, and the positions of the sequences that its columns count with."""
    relation = definitions.relation(table)
    if relation is None:
        return Saved(save=(), restore=())
    columns, where = stored_columns(relation), saved_name(context, table, part=part)
    positions = [
        (column.sequence.name, saved_name(context, f"{table}_{column.name}_seq", part=part))
        for column in relation.columns
        if column.sequence is not None
    ]
    overriding = " OVERRIDING SYSTEM VALUE" if any(column.identity for column in relation.columns) else ""
    save = save_query(context, table, f"SELECT {columns} FROM ONLY {table}", part=part)
    restore = [f"INSERT INTO {table} ({columns}){overriding} SELECT {columns} FROM {where}", f"DROP TABLE {where}"]
    for sequence, kept in positions:
        save += (f"CREATE TABLE {kept} AS SELECT last_value, is_called FROM {sequence}",)
        restore += [
            f"SELECT pg_catalog.setval({literal(sequence)}, last_value, is_called) FROM {kept}",
            f"DROP TABLE {kept}",
        ]
    return Saved(save=save, restore=tuple(restore))
