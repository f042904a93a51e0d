"""Where the rows of two tables differ, found in bounded memory.

Both sides sum the hashes of their rows in 1,024 buckets of keys: one scan of each. Only the rows of buckets that differ
are sent, ordered by the hash of their key, and are merged like two sorted files. Everything here runs inside
`read_snapshot`, so that equal values have equal texts on both sides.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from psycopg import sql

from squizzle.postgres.access import Connection

BUCKETS = 1024
_FETCH_ROWS = 2_000

BucketSums = Mapping[int, tuple[int, str]]
"""Of each bucket that has rows: how many, and the sum of their hashes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RowSource:
    """What is read of one table on one side. Rows are named `x` in SQL.

    Attributes:
        schema: Unquoted.
        table: Unquoted.
        partitioned: Whether rows lie in partitions below it.
        key: Columns that no two rows have the same values in; none to take rows as a whole.
        columns: What is compared, in the same order on both sides.
    """

    schema: str
    table: str
    partitioned: bool
    key: tuple[str, ...]
    columns: tuple[str, ...]

    @property
    def relation(self) -> sql.Composed:
        """The table, for FROM."""
        # A parent of plain inheritance has rows of its own, and its children are tables of their own.
        only = sql.SQL("" if self.partitioned else "ONLY ")
        return sql.SQL("{}{} AS x").format(only, sql.Identifier(self.schema, self.table))

    @property
    def row_text(self) -> sql.Composed:
        """The compared columns as one text; what tells NULL from empty, and every value from every other."""
        return row_text(self.columns)

    @property
    def key_text(self) -> sql.Composed:
        """The key as one text, `(7,a)`."""
        return row_text(self.key or self.columns)

    @property
    def key_hash(self) -> sql.Composed:
        """Hash of the key, 64 bits."""
        # Another seed than that of the digest: without a key they are hashes of the same text.
        return sql.SQL("hashtextextended({}, 1)").format(self.key_text)

    def is_in(self, buckets: Collection[int]) -> sql.Composed:
        """The condition that a row is in one of these buckets."""
        return sql.SQL("({} & {}) = ANY({})").format(
            self.key_hash, sql.Literal(BUCKETS - 1), sql.Literal(sorted(buckets))
        )


def row_text(columns: Collection[str]) -> sql.Composed:
    """Some columns of `x` as the text of a composite value."""
    return sql.SQL("ROW({})::text").format(sql.SQL(", ").join(sql.Identifier("x", name) for name in columns))


def sum_buckets(connection: Connection, source: RowSource) -> BucketSums:
    """Read every row of a table once, on the server."""
    query = sql.SQL(
        "SELECT ({key_hash} & {last})::int, count(*), sum(hashtextextended({row}, 0))::text FROM {relation} GROUP BY 1"
    ).format(key_hash=source.key_hash, row=source.row_text, relation=source.relation, last=sql.Literal(BUCKETS - 1))
    return {bucket: (count, total) for bucket, count, total in connection.execute(query)}


def different_buckets(left: BucketSums, right: BucketSums) -> list[int]:
    """The buckets in which something differs. Pure."""
    return sorted(bucket for bucket in left.keys() | right.keys() if left.get(bucket) != right.get(bucket))


class BucketRow(NamedTuple):
    """One row of a bucket.

    Attributes:
        key_hash: The rows come in its order.
        key: The key's text; of a source without a key the whole row's.
        digest: Hash of the compared columns.
        further: What else was asked for.
    """

    key_hash: int
    key: str
    digest: int
    further: str


def read_buckets(
    connection: Connection, source: RowSource, buckets: Collection[int], *, further: sql.Composable
) -> Iterator[BucketRow]:
    """The rows of some buckets in the order of their keys' hashes, sorted on the server.

    Args:
        connection: A session inside `read_snapshot`.
        source: What is read.
        buckets: Of which buckets.
        further: One more text of each row, as SQL about `x`.
    """
    query = sql.SQL(
        "SELECT {key_hash} AS key_hash, {key}, hashtextextended({row}, 0), {further}"
        " FROM {relation} WHERE {these} ORDER BY key_hash"
    ).format(
        key_hash=source.key_hash,
        key=source.key_text,
        row=source.row_text,
        further=further,
        relation=source.relation,
        these=source.is_in(buckets),
    )
    with connection.cursor(name="squizzle_rows") as cursor:
        cursor.itersize = _FETCH_ROWS
        cursor.execute(query)
        for found in cursor:
            yield BucketRow(*found)


def pair_by_key(
    left: Iterator[BucketRow], right: Iterator[BucketRow]
) -> Iterator[tuple[BucketRow | None, BucketRow | None]]:
    """Every row of both sides once, with the other side's row of the same key, or with None where it has none. Pure."""
    sides = (groupby(left, key=lambda row: row.key_hash), groupby(right, key=lambda row: row.key_hash))
    ours, theirs = next(sides[0], None), next(sides[1], None)
    while ours is not None or theirs is not None:
        if theirs is None or (ours is not None and ours[0] < theirs[0]):
            assert ours is not None  # noqa: S101 - the loop's condition
            yield from ((row, None) for row in ours[1])
            ours = next(sides[0], None)
        elif ours is None or theirs[0] < ours[0]:
            yield from ((None, row) for row in theirs[1])
            theirs = next(sides[1], None)
        else:
            yield from _paired(ours[1], theirs[1])
            ours, theirs = next(sides[0], None), next(sides[1], None)


def _paired(
    left: Iterator[BucketRow], right: Iterator[BucketRow]
) -> Iterator[tuple[BucketRow | None, BucketRow | None]]:
    """Rows whose keys have the same hash: nearly always one on each side; without a key, equal rows several times."""
    waiting: dict[str, list[BucketRow]] = {}
    for row in right:
        waiting.setdefault(row.key, []).append(row)
    for row in left:
        same = waiting.get(row.key)
        yield row, same.pop() if same else None
    for rows in waiting.values():
        yield from ((None, row) for row in rows)
