"""How the rows of two databases differ, for people: which table, how many rows, in which columns, under which keys.

A digest says that a table differs; this says how. Values of rows never leave the servers, but for the keys of some.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import merge
from itertools import groupby

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from squizzle.errors import InvalidInputError
from squizzle.headway import stretch
from squizzle.postgres.access import Connection
from squizzle.postgres.sql_files import load_sql
from squizzle.postgres.translation import translate_error
from squizzle.proof.digests import read_snapshot
from squizzle.proof.records import RowChange, RowDifference
from squizzle.proof.row_buckets import Buckets, Chosen, RowSource, Side, choose_buckets, pair_by_key, read_both

# So many different sets of changed columns are told apart, and the rest together: a table of noise has thousands.
_COLUMN_SETS = 8
# A key may be a text of megabytes, and the first words of it find the row.
_KEY_WIDTH = 120
_ONE_LINE = str.maketrans({"\n": "\\n", "\r": "\\r", "\t": "\\t"})
_FETCH_ROWS = 2_000


def find_row_differences(
    before: Connection, after: Connection, tables: Iterable[str], *, at_most_keys: int = 5
) -> tuple[RowDifference, ...]:
    """Find the rows of some tables that are not the same in two databases. Nothing is changed.

    Values are the same when their texts are, as for digests, generated columns included. Rows are told apart by the
    primary key, of either side where the other has it not, and as a whole where neither can serve; then a changed row
    is one that is missing and one that is unexpected. Where a column is on one side only, every row that both sides
    have is changed in it. Each table is read once or twice on either side, and of the rows only 1/1,024 for each one
    that differs, or less; memory does not grow with the table.

    Args:
        before: A session outside any transaction in the database as it should be; it may read every table.
        after: The same in the database that is compared, on the same server or on another one.
        tables: Qualified and quoted names, such as `Comparison.different_tables` has; partitioned tables are read
            through their parents, everything else without its children.
        at_most_keys: How many keys are named for each difference.

    Returns:
        For each table in the order given: missing, unexpected, and changed rows, the latter for each set of columns
        that changed together, the most rows first. Nothing for a table whose rows are the same.

    Raises:
        InvalidInputError: Neither database has a table of that name.
        DatabaseError: A table may not be read, or a session was lost.
    """
    names = tuple(dict.fromkeys(tables))
    with read_snapshot(before), read_snapshot(after):
        was, now = _layouts(before, names), _layouts(after, names)
        unknown = [name for name in names if name not in was and name not in now]
        if unknown:
            raise InvalidInputError(
                f"neither database has a table {', '.join(unknown)}",
                hint='write names with their schema, and quoted where that is needed: public."Order"',
            )
        found: list[RowDifference] = []
        for name in names:
            tally = _Tally(table=name, at_most_keys=at_most_keys)
            try:
                with stretch(f"comparing the rows of {name}"):
                    _compare(before, after, (was.get(name), now.get(name)), tally)
            except psycopg.Error as exc:
                raise translate_error(exc, doing=f"compare the rows of {name}") from exc
            found += tally.differences()
        return tuple(found)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Layout:
    """One table on one side."""

    name: str
    schema: str
    table: str
    key: list[str]
    columns: list[str]
    partitioned: bool

    def source(self, key: tuple[str, ...], columns: tuple[str, ...]) -> RowSource:
        return RowSource(schema=self.schema, table=self.table, partitioned=self.partitioned, key=key, columns=columns)


def _layouts(connection: Connection, names: tuple[str, ...]) -> dict[str, _Layout]:
    try:
        with connection.cursor(row_factory=class_row(_Layout)) as cursor:
            rows = cursor.execute(load_sql("squizzle.proof", "row_layouts"), (list(names),)).fetchall()
    except psycopg.Error as exc:
        raise translate_error(exc, doing="read how tables are made") from exc
    return {row.name: row for row in rows}


@dataclass(kw_only=True, slots=True)
class _Group:
    """Rows that differ in the same way."""

    columns: set[str] = field(default_factory=set)
    rows: int = 0
    keys: list[str] = field(default_factory=list)


@dataclass(kw_only=True, slots=True)
class _Tally:
    """What was found of one table."""

    table: str
    at_most_keys: int
    missing: _Group = field(default_factory=_Group)
    unexpected: _Group = field(default_factory=_Group)
    changed: dict[frozenset[str], _Group] = field(default_factory=dict)
    further: _Group = field(default_factory=_Group)

    def add(self, group: _Group, key: str | None, *, rows: int = 1) -> None:
        group.rows += rows
        if key is not None and len(group.keys) < self.at_most_keys:
            text = key.translate(_ONE_LINE)
            group.keys.append(text if len(text) <= _KEY_WIDTH else f"{text[:_KEY_WIDTH]}…")

    def changed_in(self, columns: frozenset[str]) -> _Group:
        group = self.changed.get(columns)
        if group is None and len(self.changed) < _COLUMN_SETS:
            group = self.changed[columns] = _Group()
        group = self.further if group is None else group
        group.columns |= columns
        return group

    def differences(self) -> Iterator[RowDifference]:
        changed = sorted(self.changed.values(), key=lambda one: (-one.rows, sorted(one.columns)))
        groups = [(RowChange.MISSING, self.missing), (RowChange.UNEXPECTED, self.unexpected)]
        for change, group in [*groups, *((RowChange.CHANGED, one) for one in [*changed, self.further])]:
            if group.rows:
                yield RowDifference(
                    table=self.table,
                    change=change,
                    rows=group.rows,
                    columns=tuple(sorted(group.columns)),
                    keys=tuple(group.keys),
                )


def _compare(
    before: Connection, after: Connection, layouts: tuple[_Layout | None, _Layout | None], tally: _Tally
) -> None:
    was, now = layouts
    if was is None or now is None:
        for connection, layout, group in ((before, was, tally.missing), (after, now, tally.unexpected)):
            if layout is not None:
                _count_all(connection, layout, tally, group)
        return
    columns = tuple(name for name in was.columns if name in now.columns)
    on_one_side = frozenset(was.columns) ^ frozenset(now.columns)
    key = _common_key((before, was), (after, now), columns)
    sides = _Sides(
        was=Side(connection=before, source=was.source(key, columns)),
        now=Side(connection=after, source=now.source(key, columns)),
    )
    sides.compare(tally, on_one_side)


def _count_all(connection: Connection, layout: _Layout, tally: _Tally, group: _Group) -> None:
    """Every row of a table that the other side does not have."""
    source = layout.source(tuple(layout.key), tuple(layout.columns))
    [(rows,)] = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(source.relation)).fetchall()
    tally.add(group, None, rows=rows)
    if source.key and tally.at_most_keys:
        some = sql.SQL("SELECT {} FROM {} LIMIT {}").format(
            source.key_text, source.relation, sql.Literal(tally.at_most_keys)
        )
        for (key,) in connection.execute(some).fetchall():
            tally.add(group, key, rows=0)


def _common_key(
    left: tuple[Connection, _Layout], right: tuple[Connection, _Layout], columns: tuple[str, ...]
) -> tuple[str, ...]:
    """A primary key that tells rows apart on both sides; a table that lost its key keeps its numbers."""
    for (_, owner), (connection, other) in ((left, right), (right, left)):
        key = tuple(owner.key)
        if key and set(key) <= set(columns) and (set(key) == set(other.key) or _tells_apart(connection, other, key)):
            return key
    return ()


def _tells_apart(connection: Connection, layout: _Layout, key: tuple[str, ...]) -> bool:
    source = layout.source(key, key)
    twice = sql.SQL("SELECT EXISTS (SELECT FROM {} GROUP BY {} HAVING count(*) > 1)").format(
        source.relation, source.key_hash
    )
    return connection.execute(twice).fetchone() == (False,)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sides:
    """A table that both databases have, read by the same key and columns."""

    was: Side
    now: Side

    def compare(self, tally: _Tally, on_one_side: frozenset[str]) -> None:
        keyed = bool(self.was.source.key)
        # Where a column is on one side only, all rows are changed; of those that are equal otherwise a few show keys.
        chosen = choose_buckets(self.was, self.now, also=tally.at_most_keys if on_one_side and keyed else 0)
        if on_one_side:
            tally.add(tally.changed_in(on_one_side), None, rows=chosen.rest)
        if not chosen.buckets.these:
            return
        if keyed:
            self._compare_keyed(tally, chosen.buckets, on_one_side)
        else:
            self._compare_whole(tally, chosen, on_one_side)

    def _compare_keyed(self, tally: _Tally, buckets: Buckets, on_one_side: frozenset[str]) -> None:
        left, right = read_both(self.was, self.now, buckets, digest=self._column_hashes, further=sql.NULL)
        for ours, theirs in pair_by_key(left, right):
            if theirs is None:
                tally.add(tally.missing, ours.key if ours else None)
            elif ours is None:
                tally.add(tally.unexpected, theirs.key)
            elif on_one_side or ours.digest != theirs.digest:
                tally.add(tally.changed_in(self._changed(ours.digest, theirs.digest) | on_one_side), ours.key)

    @property
    def _column_hashes(self) -> sql.Composed:
        """A hash of each column in one value, which is taken apart only where two rows are not the same.

        `concat` has what a type prints, where a cast to text may do something else; NULL, which prints nothing, is
        told from an empty text by the seed.
        """
        hashes = [
            sql.SQL("hashtextextended(concat({0}), num_nulls({0}))").format(sql.Identifier("x", name))
            for name in self.was.source.columns
        ]
        return sql.SQL("array_send(ARRAY[{}]::bigint[])").format(sql.SQL(", ").join(hashes))

    def _changed(self, ours: bytes, theirs: bytes) -> frozenset[str]:
        each = zip(self.was.source.columns, _hashes(ours), _hashes(theirs), strict=True)
        return frozenset([name for name, one, other in each if one != other])

    def _compare_whole(self, tally: _Tally, chosen: Chosen, on_one_side: frozenset[str]) -> None:
        """Rows that only their values tell apart, as often as each is there; counted on the servers."""
        left, right = self._counted(self.was, chosen.buckets, 1), self._counted(self.now, chosen.buckets, -1)
        for _, group in groupby(merge(left, right), key=lambda row: row[:2]):
            more = sum(rows for _, _, rows in group)
            tally.add(tally.missing if more > 0 else tally.unexpected, None, rows=abs(more))
        if on_one_side:
            tally.add(tally.changed_in(on_one_side), None, rows=chosen.rows - tally.missing.rows)

    def _counted(self, side: Side, buckets: Buckets, sign: int) -> Iterator[tuple[int, int, int]]:
        """Two hashes of each different row, 128 bits together, in their order, and how often it is there."""
        source = side.source
        query = sql.SQL(
            "SELECT {first}, {second}, count(*) FROM {relation} WHERE {these} GROUP BY 1, 2 ORDER BY 1, 2"
        ).format(first=source.key_hash, second=source.row_hash, relation=source.relation, these=source.is_in(buckets))
        with side.connection.cursor(name="squizzle_rows", binary=True) as cursor:
            cursor.itersize = _FETCH_ROWS
            cursor.execute(query)
            for first, second, rows in cursor:
                yield first, second, sign * rows


# How an array is sent: its head, then each number behind its length (array_send() in PostgreSQL's source).
_ARRAY_HEAD, _NUMBER = 20, 12


def _hashes(sent: bytes) -> list[bytes]:
    return [sent[at : at + _NUMBER] for at in range(_ARRAY_HEAD, len(sent), _NUMBER)]
