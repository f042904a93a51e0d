"""How the rows of two databases differ, table by table, in bounded memory.

Both sides sum the hashes of their rows in 1,024 buckets of keys: one scan of each. Only the rows of buckets that differ
are sent, ordered by the hash of their key, and are merged like two sorted files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import NamedTuple

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from squizzle.postgres.access import Connection
from squizzle.postgres.sql_files import load_sql
from squizzle.postgres.translation import translate_error
from squizzle.recovery.salvage.records import RowKind, TableLayout, TableSalvage

_FETCH_ROWS = 2_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One row that is not the same on both sides; values are the texts of the columns by name, as JSON.

    Attributes:
        table: Qualified and quoted name.
        kind: How it differs.
        key: The primary key, or the whole row where there is none, as the text of a composite value.
        damaged: The damaged side's row.
        recovered: The recovered side's row; None where it has none.
    """

    table: str
    kind: RowKind
    key: str
    damaged: str
    recovered: str | None


class _Row(NamedTuple):
    key_hash: int
    key: str
    digest: int
    values: str


def read_layouts(connection: Connection) -> dict[str, TableLayout]:
    """The tables of a database, by qualified and quoted name. Nothing is changed."""
    try:
        with connection.cursor(row_factory=class_row(_LayoutRow)) as cursor:
            rows = cursor.execute(load_sql("squizzle.recovery.salvage", "layouts")).fetchall()
    except psycopg.Error as exc:
        raise translate_error(exc, doing="read the tables") from exc
    return {row.table: row.layout() for row in rows}


@dataclass(frozen=True, kw_only=True, slots=True)
class _LayoutRow:
    table: str
    schema: str
    name: str
    key: list[str]
    columns: list[list[str]]
    partitioned: bool

    def layout(self) -> TableLayout:
        columns = tuple((name, kind) for name, kind in self.columns)
        return TableLayout(
            table=self.table,
            schema=self.schema,
            name=self.name,
            key=tuple(self.key),
            columns=columns,
            partitioned=self.partitioned,
        )


def compare_table(
    damaged: Connection,
    recovered: Connection,
    layouts: tuple[TableLayout | None, TableLayout | None],
    *,
    keep: Callable[[Difference], bool],
) -> TableSalvage:
    """Find the rows of one table that are not the same in both databases. Nothing is changed.

    Args:
        damaged: A session inside `read_snapshot`.
        recovered: The same in the recovered database.
        layouts: The table as it is in the damaged and in the recovered one; None where it is not.
        keep: Called with each row that is added or changed; says whether it was kept.

    Returns:
        What was counted, with a note on what could not be compared.
    """
    ours, theirs = layouts
    if ours is None or theirs is None:
        return _one_sided(damaged, recovered, layouts, keep)
    comparable, note = _comparable(ours, theirs)
    found = TableSalvage(table=theirs.table, note=note)
    if comparable is None:
        return found
    try:
        buckets = _different_buckets(damaged, recovered, comparable)
        if not buckets:
            return found
        sides = (_rows(damaged, comparable, buckets), _rows(recovered, comparable, buckets))
        return _count(found, _merged(*sides), table=theirs.table, keep=keep)
    except psycopg.Error as exc:
        raise translate_error(exc, doing=f"compare the rows of {theirs.table}") from exc


def _one_sided(
    damaged: Connection,
    recovered: Connection,
    layouts: tuple[TableLayout | None, TableLayout | None],
    keep: Callable[[Difference], bool],
) -> TableSalvage:
    """A table that only one of the two has: all of its rows are added, or gone."""
    ours, theirs = layouts
    layout = ours or theirs
    if layout is None:
        raise AssertionError("a table that neither database has")
    every = list(range(_BUCKETS))
    try:
        rows = _rows(damaged if ours else recovered, layout, every)
        where = "damaged" if ours else "recovered"
        found = TableSalvage(table=layout.table, note=f"only the {where} database has this table")
        pairs: Iterator[tuple[_Row | None, _Row | None]] = ((row, None) if ours else (None, row) for row in rows)
        return _count(found, pairs, table=layout.table, keep=keep)
    except psycopg.Error as exc:
        raise translate_error(exc, doing=f"read the rows of {layout.table}") from exc


def _comparable(ours: TableLayout, theirs: TableLayout) -> tuple[TableLayout | None, str]:
    """What both sides have of a table, and what that leaves out."""
    both = tuple(column for column in theirs.columns if column in ours.columns)
    here, there = dict(ours.columns), dict(theirs.columns)
    notes = [
        *(f"column {name} is only in the damaged database" for name in here.keys() - there.keys()),
        *(f"column {name} is only in the recovered database" for name in there.keys() - here.keys()),
        *(
            f"column {name} is {here[name]}, and {there[name]} in the recovered database"
            for name in here.keys() & there.keys()
            if here[name] != there[name]
        ),
    ]
    names = {name for name, _ in both}
    key = theirs.key if ours.key == theirs.key and names.issuperset(theirs.key) else ()
    if ours.key != theirs.key or not names.issuperset(theirs.key):
        notes.append("the primary keys differ, so whole rows are compared")
    if not both:
        return None, "; ".join([*sorted(notes), "no column is the same in both"])
    return replace(theirs, columns=both, key=key), "; ".join(sorted(notes))


_BUCKETS = 1024


def _relation(layout: TableLayout) -> sql.Composable:
    columns = sql.SQL(", ").join(sql.Identifier("t", name) for name, _ in layout.columns)
    # A parent of plain inheritance has rows of its own, and its children are tables of their own.
    only = sql.SQL("" if layout.partitioned else "ONLY ")
    table = sql.Identifier(layout.schema, layout.name)
    return sql.SQL("(SELECT {} FROM {}{} AS t) AS x").format(columns, only, table)


def _composite(names: tuple[str, ...]) -> sql.Composable:
    return sql.SQL("ROW({})::text").format(sql.SQL(", ").join(sql.Identifier("x", name) for name in names))


def _key_and_row(layout: TableLayout) -> tuple[sql.Composable, sql.Composable]:
    every = tuple(name for name, _ in layout.columns)
    return _composite(layout.key or every), _composite(every)


def _different_buckets(damaged: Connection, recovered: Connection, layout: TableLayout) -> list[int]:
    key, row = _key_and_row(layout)
    query = sql.SQL(
        "SELECT (hashtextextended({key}, 1) & {last})::int, count(*), sum(hashtextextended({row}, 0))::text"
        " FROM {relation} GROUP BY 1"
    ).format(key=key, row=row, relation=_relation(layout), last=sql.Literal(_BUCKETS - 1))
    sums = [{bucket: (count, total) for bucket, count, total in side.execute(query)} for side in (damaged, recovered)]
    return sorted(bucket for bucket in sums[0].keys() | sums[1].keys() if sums[0].get(bucket) != sums[1].get(bucket))


def _rows(connection: Connection, layout: TableLayout, buckets: list[int]) -> Iterator[_Row]:
    """The rows of some buckets in the order of their keys' hashes."""
    key, row = _key_and_row(layout)
    names = [name for name, _ in layout.columns]
    query = sql.SQL(
        "SELECT key_hash, key, hashtextextended(digest, 0), values FROM"
        " (SELECT hashtextextended({key}, 1) AS key_hash, {key} AS key, {row} AS digest,"
        "         jsonb_object({names}::text[], ARRAY[{texts}]::text[])::text AS values FROM {relation}) AS r"
        " WHERE (key_hash & {last}) = ANY({buckets}) ORDER BY key_hash"
    ).format(
        key=key,
        row=row,
        names=sql.Literal(names),
        texts=sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier("x", name)) for name in names),
        relation=_relation(layout),
        last=sql.Literal(_BUCKETS - 1),
        buckets=sql.Literal(buckets),
    )
    with connection.cursor(name="squizzle_rows") as cursor:
        cursor.itersize = _FETCH_ROWS
        cursor.execute(query)
        for found in cursor:
            yield _Row(*found)


def _merged(damaged: Iterator[_Row], recovered: Iterator[_Row]) -> Iterator[tuple[_Row | None, _Row | None]]:
    """Pairs of rows with the same key that are not the same; None where a side has none of that key."""
    sides = (groupby(damaged, key=lambda row: row.key_hash), groupby(recovered, key=lambda row: row.key_hash))
    left, right = next(sides[0], None), next(sides[1], None)
    while left is not None or right is not None:
        if right is None or (left is not None and left[0] < right[0]):
            assert left is not None  # noqa: S101 - the loop's condition
            yield from ((row, None) for row in left[1])
            left = next(sides[0], None)
        elif left is None or right[0] < left[0]:
            yield from ((None, row) for row in right[1])
            right = next(sides[1], None)
        else:
            yield from _paired(list(left[1]), list(right[1]))
            left, right = next(sides[0], None), next(sides[1], None)


def _paired(damaged: list[_Row], recovered: list[_Row]) -> Iterator[tuple[_Row | None, _Row | None]]:
    """Rows whose keys have the same hash: nearly always one on each side; without a key, equal rows several times."""
    for row in damaged:
        same = next((index for index, other in enumerate(recovered) if other.key == row.key), None)
        if same is None:
            yield row, None
            continue
        other = recovered.pop(same)
        if other.digest != row.digest:
            yield row, other
    yield from ((None, row) for row in recovered)


def _count(
    found: TableSalvage,
    pairs: Iterator[tuple[_Row | None, _Row | None]],
    *,
    table: str,
    keep: Callable[[Difference], bool],
) -> TableSalvage:
    counts = dict.fromkeys(RowKind, 0)
    kept = 0
    for ours, theirs in pairs:
        if ours is None:
            counts[RowKind.GONE] += 1
            continue
        kind = RowKind.ADDED if theirs is None else RowKind.CHANGED
        counts[kind] += 1
        recovered = theirs.values if theirs else None
        kept += keep(Difference(table=table, kind=kind, key=ours.key, damaged=ours.values, recovered=recovered))
    return replace(
        found, added=counts[RowKind.ADDED], changed=counts[RowKind.CHANGED], gone=counts[RowKind.GONE], kept=kept
    )
