"""The columns that a statement gives a type to, for the rules about types."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import Action, AddColumn, AlterColumnType, CreateTable
from squizzle.analysis.columns import Column, TypeName


def new_columns(action: Action) -> tuple[Column, ...]:
    """The columns that CREATE TABLE or ADD COLUMN defines."""
    if isinstance(action, CreateTable):
        return action.columns
    return (action.column,) if isinstance(action, AddColumn) else ()


def typed_columns(action: Action) -> Iterator[tuple[str, TypeName, int]]:
    """Name, type and place of every column that gets a type, ALTER COLUMN … TYPE included."""
    yield from ((column.name, column.type, column.location) for column in new_columns(action))
    if isinstance(action, AlterColumnType):
        yield action.column, action.type, action.location
