"""Where the rows of two tables differ, found in bounded memory.

Both sides sum the hashes of their rows in 1,024 buckets of keys: one scan of each. Only the rows of buckets that differ
are sent, ordered by the hash of their key, and are merged like two sorted files. Everything here runs inside
`read_snapshot`, so that equal values have equal texts on both sides.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

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


Further = TypeVar("Further")


class BucketRow(NamedTuple, Generic[Further]):
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
    further: Further


Pair = tuple[BucketRow[Further] | None, BucketRow[Further] | None]


def read_buckets(
    connection: Connection, source: RowSource, buckets: Collection[int], *, further: sql.Composable
) -> Iterator[BucketRow[Any]]:
    """The rows of some buckets in the order of their keys' hashes, sorted on the server.

    Args:
        connection: A session inside `read_snapshot`.
        source: What is read.
        buckets: Of which buckets.
        further: One more value of each row, as SQL about `x`.
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
    # To make texts of all the hashes would cost the server more than the hashes.
    with connection.cursor(name="squizzle_rows", binary=True) as cursor:
        cursor.itersize = _FETCH_ROWS
        cursor.execute(query)
        yield from map(BucketRow._make, cursor)


def pair_by_key(left: Iterator[BucketRow[Further]], right: Iterator[BucketRow[Further]]) -> Iterator[Pair[Further]]:
    """Every row of both sides once, with the other side's row of the same key, or with None where it has none. Pure."""
    ours, theirs = next(left, None), next(right, None)
    while ours is not None and theirs is not None:
        place = ours.key_hash
        if place < theirs.key_hash:
            yield ours, None
            ours = next(left, None)
        elif place > theirs.key_hash:
            yield None, theirs
            theirs = next(right, None)
        else:
            more_ours, ours = _same_place(ours, left)
            more_theirs, theirs = _same_place(theirs, right)
            yield from _paired(more_ours, more_theirs)
    if ours is not None:
        yield ours, None
    if theirs is not None:
        yield None, theirs
    yield from ((row, None) for row in left)
    yield from ((None, row) for row in right)


def _same_place(
    first: BucketRow[Further], rest: Iterator[BucketRow[Further]]
) -> tuple[list[BucketRow[Further]], BucketRow[Further] | None]:
    """The rows whose keys have the same hash as the first one's, and the first one that has another."""
    found = [first]
    while (row := next(rest, None)) is not None and row.key_hash == first.key_hash:
        found.append(row)
    return found, row


def _paired(left: list[BucketRow[Further]], right: list[BucketRow[Further]]) -> Iterator[Pair[Further]]:
    """Rows whose keys have the same hash: nearly always one on each side; without a key, equal rows several times."""
    if len(left) == len(right) == 1 and left[0].key == right[0].key:
        yield left[0], right[0]
        return
    waiting: dict[str, list[BucketRow[Further]]] = {}
    for row in right:
        waiting.setdefault(row.key, []).append(row)
    for row in left:
        same = waiting.get(row.key)
        yield row, same.pop() if same else None
    for rows in waiting.values():
        yield from ((None, row) for row in rows)
