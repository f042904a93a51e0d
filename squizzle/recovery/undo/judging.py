"""Which rows have to stay as they are because of other rows: foreign keys and unique values."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from squizzle.postgres.access import Connection
from squizzle.recovery.undo.records import ConflictReason
from squizzle.recovery.undo.shapes import ForeignKey, Group, Subject, Unique
from squizzle.recovery.undo.text import AND, COMMA, each, matches, row_of, same_key

_S, _W = sql.Identifier("s"), sql.Identifier("w")


def judge(connection: Connection, group: Group) -> None:
    """Mark the rows of the plans that cannot change; one that stays may keep others, so until none is left.

    Raises:
        psycopg.Error: As the server says.
    """
    marks = [
        *(mark for key in group.foreign_keys for mark in _of_foreign_key(group, key)),
        *(mark for unique in group.uniques for mark in _of_unique(group, unique)),
    ]
    while sum(connection.execute(mark).rowcount for mark in marks):
        """Those that stay now may be what others need gone, or have to find there."""


def _of_foreign_key(group: Group, key: ForeignKey) -> list[sql.Composed]:
    child, parent = group.of(key.child_id), group.of(key.parent_id)
    marks = []
    if parent is not None:
        leaving = _values(parent, key.parent_columns, from_state="before", against="after")
        place = sql.Identifier(key.child_schema, key.child_name)
        there = _afterwards(child, place, key.child_columns)
        referring = sql.SQL(" UNION ").join(
            sql.SQL("SELECT w.key FROM {} w JOIN {} s ON {}").format(leaving, one, _ties(key, parent=_W, child=_S))
            for one in there
        )
        others = (
            []
            if key.parent_columns == parent.shape.key_columns
            else _afterwards(parent, parent.shape.place, key.parent_columns)
        )
        # Of unique columns that are not the key, another row may have the value by then.
        still = AND.join(
            [
                sql.SQL("true"),
                *(
                    sql.SQL("NOT EXISTS (SELECT FROM {} w JOIN {} s ON {} WHERE w.key = p.key)").format(
                        leaving,
                        one,
                        AND.join(
                            sql.SQL("{}::text = {}::text").format(a, b)
                            for a, b in zip(
                                _numbered(_W, key.parent_columns), _numbered(_S, key.parent_columns), strict=True
                            )
                        ),
                    )
                    for one in others
                ),
            ]
        )
        marks.append(_mark(parent, referring, ConflictReason.STILL_REFERENCED, key.name, also=still))
    if child is not None:
        coming = _values(child, key.child_columns, from_state="after", against="before")
        place = sql.Identifier(key.parent_schema, key.parent_name)
        absent = AND.join(
            sql.SQL("NOT EXISTS (SELECT FROM {} s WHERE {})").format(one, _ties(key, parent=_S, child=_W))
            for one in _afterwards(parent, place, key.parent_columns)
        )
        keys = sql.SQL("SELECT w.key FROM {} w WHERE {}").format(coming, absent)
        marks.append(_mark(child, keys, ConflictReason.PARENT_MISSING, key.name))
    return marks


def _of_unique(group: Group, unique: Unique) -> list[sql.Composed]:
    subject = group.of(unique.table_id)
    if subject is None:
        return []
    coming = _values(subject, unique.columns, from_state="after", against="before")
    equal = matches(_numbered(_W, unique.columns), unique.operators, _numbered(_S, unique.columns))
    keys = sql.SQL(" UNION ").join(
        sql.SQL("SELECT w.key FROM {} w JOIN {} s ON {} AND s.key IS DISTINCT FROM w.key").format(coming, one, equal)
        for one in _afterwards(subject, subject.shape.place, unique.columns)
    )
    return [_mark(subject, keys, ConflictReason.VALUE_TAKEN, unique.name)]


def _mark(
    subject: Subject, keys: sql.Composed, reason: ConflictReason, detail: str, also: sql.Composable | None = None
) -> sql.Composed:
    return sql.SQL(
        "UPDATE {} p SET conflict = {}, detail = {} WHERE p.conflict IS NULL AND p.key IN ({}) AND {}"
    ).format(subject.plan, sql.Literal(reason.value), sql.Literal(detail), keys, also or sql.SQL("true"))


def _ties(key: ForeignKey, *, parent: sql.Identifier, child: sql.Identifier) -> sql.Composed:
    return matches(_numbered(parent, key.parent_columns), key.operators, _numbered(child, key.child_columns))


def _numbered(prefix: sql.Identifier, columns: Sequence[str]) -> list[sql.Composable]:
    return each(prefix, [f"c_{number}" for number, _ in enumerate(columns, 1)])


def _named(values: Sequence[sql.Composable]) -> sql.Composed:
    return COMMA.join(
        sql.SQL("{} AS {}").format(value, sql.Identifier(f"c_{number}")) for number, value in enumerate(values, 1)
    )


def _values(subject: Subject, columns: Sequence[str], *, from_state: str, against: str) -> sql.Composed:
    """Rows of the plan whose values in these columns come (or go): `key` and `c_1` …; none of which is NULL."""
    state, other = sql.SQL("(x.one)"), sql.SQL("(x.other)")
    return sql.SQL(
        "(SELECT x.key, {values} FROM (SELECT p.key, p.{one}::{row} AS one, p.{other}::{row} AS other,"
        " p.{other} IS NULL AS alone FROM {plan} p WHERE p.conflict IS NULL AND p.{one} IS NOT NULL OFFSET 0) x"
        " WHERE {present} AND (x.alone OR {here}::text <> {there}::text))"
    ).format(
        values=_named(each(state, columns)),
        one=sql.Identifier(from_state),
        other=sql.Identifier(against),
        row=subject.row,
        plan=subject.plan,
        present=AND.join(sql.SQL("{} IS NOT NULL").format(value) for value in each(state, columns)),
        here=row_of(state, columns),
        there=row_of(other, columns),
    )


def _afterwards(subject: Subject | None, place: sql.Identifier, columns: Sequence[str]) -> list[sql.Composed]:
    """The rows that a table will have, in two parts: `key` (NULL for rows that nobody touches) and `c_1` …."""
    alias = sql.Identifier("r")
    if subject is None:
        return [sql.SQL("(SELECT NULL::text AS key, {} FROM {} r)").format(_named(each(alias, columns)), place)]
    untouched = sql.SQL(
        "(SELECT NULL::text AS key, {} FROM {} r WHERE NOT EXISTS (SELECT FROM {} q WHERE q.conflict IS NULL AND {}))"
    ).format(_named(each(alias, columns)), place, subject.plan, same_key(subject, sql.Identifier("q"), alias))
    put_back = sql.SQL(
        "(SELECT x.key, {} FROM (SELECT q.key, q.after::{} AS one FROM {} q"
        " WHERE q.conflict IS NULL AND q.after IS NOT NULL OFFSET 0) x)"
    ).format(_named(each(sql.SQL("(x.one)"), columns)), subject.row, subject.plan)
    return [untouched, put_back]
