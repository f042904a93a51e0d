"""Pieces of SQL that reading, judging and writing rows have in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from psycopg import sql

from squizzle.recovery.undo.shapes import Subject

COMMA = sql.SQL(", ")
AND = sql.SQL(" AND ")


def operator(text: str) -> sql.SQL:
    """An operator as the catalogue queries spell it: a quoted schema and characters of operators, nothing else."""
    return sql.SQL(text)


def columns_of(prefix: sql.Composable, names: Iterable[str]) -> sql.Composed:
    """`prefix.a, prefix.b`."""
    return COMMA.join(sql.SQL("{}.{}").format(prefix, sql.Identifier(name)) for name in names)


def row_of(prefix: sql.Composable, names: Iterable[str]) -> sql.Composed:
    """`ROW(prefix.a, prefix.b)`."""
    return sql.SQL("ROW({})").format(columns_of(prefix, names))


def key_names(subject: Subject) -> list[str]:
    """Names of the key's columns in our temporary tables."""
    return [f"key_{number}" for number, _ in enumerate(subject.shape.key_columns, 1)]


def matches(left: Sequence[sql.Composable], operators: Sequence[str], right: Sequence[sql.Composable]) -> sql.Composed:
    """`left OPERATOR right` of each, all together."""
    return AND.join(
        sql.SQL("{} {} {}").format(one, operator(equal), other)
        for one, equal, other in zip(left, operators, right, strict=True)
    )


def each(prefix: sql.Composable, names: Iterable[str]) -> list[sql.Composable]:
    """`prefix.a` and `prefix.b` as a list."""
    return [sql.SQL("{}.{}").format(prefix, sql.Identifier(name)) for name in names]


def same_key(subject: Subject, plan: sql.Composable, row: sql.Composable) -> sql.Composed:
    """Whether a row of the table is the one of the plan: by the key's own equality, which an index helps with."""
    shape = subject.shape
    return matches(each(row, shape.key_columns), shape.key_operators, each(plan, key_names(subject)))
