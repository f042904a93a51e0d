"""How the rows of two databases differ, table by table, in bounded memory (`squizzle.proof.row_buckets`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from squizzle.postgres.access import Connection
from squizzle.postgres.sql_files import load_sql
from squizzle.postgres.translation import translate_error
from squizzle.proof.row_buckets import (
    EVERY_BUCKET,
    Pair,
    RowSource,
    Side,
    choose_buckets,
    pair_by_key,
    read_both,
)
from squizzle.recovery.salvage.records import RowKind, TableLayout, TableSalvage


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


def read_layouts(connection: Connection) -> dict[str, TableLayout]:
    """The tables of a database, by qualified and quoted name. Nothing is changed."""
    try:
        with connection.cursor(row_factory=class_row(_LayoutRow)) as cursor:
            rows = cursor.execute(load_sql("squizzle.recovery.salvage", "layouts")).fetchall()
    except psycopg.Error as exc:
        raise translate_error(exc, doing="read the tables") from exc
    return {row.table: row.layout() for row in rows}


_ROOTS = """
    SELECT format('%I.%I', n.nspname, c.relname), format('%I.%I', m.nspname, r.relname)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_class r ON r.oid = pg_partition_root(c.oid) JOIN pg_namespace m ON m.oid = r.relnamespace
    WHERE c.relispartition AND c.relkind IN ('r', 'p', 'f')
"""


def read_partition_roots(connection: Connection) -> dict[str, str]:
    """Which table each partition is one of, by qualified and quoted name; nothing is changed.

    Rows are compared by the table, fingerprints are of partitions.
    """
    try:
        return dict(connection.execute(_ROOTS).fetchall())
    except psycopg.Error as exc:
        raise translate_error(exc, doing="read the partitions") from exc


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
        source = _source(comparable)
        here, there = Side(connection=damaged, source=source), Side(connection=recovered, source=source)
        buckets = choose_buckets(here, there).buckets
        if not buckets.these:
            return found
        rows = read_both(here, there, buckets, digest=source.row_hash, further=_values(comparable))
        return _count(found, pair_by_key(*rows), table=theirs.table, keep=keep)
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
    try:
        side = Side(connection=damaged if ours else recovered, source=_source(layout))
        rows = side.rows(EVERY_BUCKET, digest=side.source.row_hash, further=_values(layout))
        where = "damaged" if ours else "recovered"
        found = TableSalvage(table=layout.table, note=f"only the {where} database has this table")
        pairs: Iterator[Pair[str]] = ((row, None) if ours else (None, row) for row in rows)
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


def _source(layout: TableLayout) -> RowSource:
    return RowSource(
        schema=layout.schema,
        table=layout.name,
        partitioned=layout.partitioned,
        key=layout.key,
        columns=tuple(name for name, _ in layout.columns),
    )


def _values(layout: TableLayout) -> sql.Composed:
    """The values of a row as JSON."""
    names = [name for name, _ in layout.columns]
    return sql.SQL("jsonb_object({names}::text[], ARRAY[{texts}]::text[])::text").format(
        names=sql.Literal(names),
        texts=sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier("x", name)) for name in names),
    )


def _count(
    found: TableSalvage,
    pairs: Iterator[Pair[str]],
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
        if theirs is not None and ours.digest == theirs.digest:
            continue
        kind = RowKind.ADDED if theirs is None else RowKind.CHANGED
        counts[kind] += 1
        recovered = theirs.further if theirs else None
        kept += keep(Difference(table=table, kind=kind, key=ours.key, damaged=ours.further, recovered=recovered))
    return replace(
        found, added=counts[RowKind.ADDED], changed=counts[RowKind.CHANGED], gone=counts[RowKind.GONE], kept=kept
    )
