"""Where the rows of two tables differ, found in bounded memory.

Both sides sum the hashes of their rows in 1,024 buckets of keys: one scan of each. Where rows differ here and there in
all of them, their rows are summed once more in up to 131,072 smaller ones. Only the rows of buckets that differ are
sent, ordered by the hash of their key, and are merged like two sorted files. Both sides work at the same time.
Everything here runs inside `read_snapshot`, so that equal values have equal texts on both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any, Generic, NamedTuple, TypeVar

import psycopg
from psycopg import sql

from squizzle.postgres.access import Connection

BUCKETS = 1024
# A bucket is in exactly one of the 1,024: both are powers of two. The sums of both sides take 50 MB.
_SMALL_BUCKETS = 1 << 17
# Fewer rows are sent sooner than summed again.
_FROM_ROWS = 5_000
# To sum a row again costs the servers two thirds of what it costs to send it.
_WORTH = 0.25
# So many buckets show which share of the rows differs.
_SAMPLE = 4
_FETCH_ROWS = 2_000

BucketSums = Mapping[int, tuple[int, str]]
"""Of each bucket that has rows: how many, and the sum of their hashes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Buckets:
    """Some of the buckets.

    Attributes:
        these: Their numbers.
        count: Of how many.
    """

    these: frozenset[int]
    count: int = BUCKETS


EVERY_BUCKET = Buckets(these=frozenset(range(BUCKETS)))


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
    def row_hash(self) -> sql.Composed:
        """Hash of the compared columns, 64 bits."""
        return sql.SQL("hashtextextended({}, 0)").format(self.row_text)

    @property
    def key_text(self) -> sql.Composed:
        """The key as one text, `(7,a)`."""
        return row_text(self.key or self.columns)

    @property
    def key_hash(self) -> sql.Composed:
        """Hash of the key, 64 bits."""
        # Another seed than that of the digest: without a key they are hashes of the same text.
        return sql.SQL("hashtextextended({}, 1)").format(self.key_text)

    def bucket(self, count: int) -> sql.Composed:
        """The number of a row's bucket, of so many."""
        return sql.SQL("({} & {})").format(self.key_hash, sql.Literal(count - 1))

    def is_in(self, buckets: Buckets) -> sql.Composed:
        """The condition that a row is in one of these buckets."""
        # Of the number's own type: so they are looked up in a hash table, else one after the other for each row
        # (convert_saop_to_hashed_saop() in PostgreSQL's source, since 14).
        numbers = sql.Literal(sorted(buckets.these))
        return sql.SQL("{} = ANY({}::bigint[])").format(self.bucket(buckets.count), numbers)


def row_text(columns: Collection[str]) -> sql.Composed:
    """Some columns of `x` as the text of a composite value."""
    return sql.SQL("ROW({})::text").format(sql.SQL(", ").join(sql.Identifier("x", name) for name in columns))


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One of the two tables, and a session inside `read_snapshot` in its database."""

    connection: Connection
    source: RowSource

    def sums(self, *, count: int = BUCKETS, within: Buckets = EVERY_BUCKET) -> BucketSums:
        """Read every row once, on the server; only those of some buckets where they are named."""
        source = self.source
        query = sql.SQL(
            "SELECT {bucket}::int, count(*), sum({hash})::text FROM {relation} WHERE {these} GROUP BY 1"
        ).format(
            bucket=source.bucket(count),
            hash=source.row_hash,
            relation=source.relation,
            these=sql.SQL("true") if within == EVERY_BUCKET else source.is_in(within),
        )
        return {bucket: (rows, total) for bucket, rows, total in self.connection.execute(query)}

    def rows(self, buckets: Buckets, *, digest: sql.Composable, further: sql.Composable) -> Iterator[BucketRow[Any]]:
        """The rows of some buckets in the order of their keys' hashes, sorted on the server.

        Args:
            buckets: Of which buckets.
            digest: What tells a row's compared values from others, as SQL about `x`.
            further: One more value of each row.
        """
        source = self.source
        query = sql.SQL(
            "SELECT {key_hash} AS key_hash, {key}, {digest}, {further} FROM {relation} WHERE {these} ORDER BY key_hash"
        ).format(
            key_hash=source.key_hash,
            key=source.key_text,
            digest=digest,
            further=further,
            relation=source.relation,
            these=source.is_in(buckets),
        )
        # To make texts of all the hashes would cost the server more than the hashes.
        with self.connection.cursor(name="squizzle_rows", binary=True) as cursor:
            cursor.itersize = _FETCH_ROWS
            cursor.execute(query)
            yield from map(BucketRow._make, cursor)


One = TypeVar("One")


def of_both(left: Side, right: Side, work: Callable[[Side], One]) -> tuple[One, One]:
    """Do it for both at the same time: each waits for a server process of its own.

    Raises:
        Error: What either raised; both have come to their end then.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="squizzle rows") as pool:
        other = pool.submit(work, right)
        try:
            return work(left), other.result()
        except BaseException:
            # Nobody wants the other one's answer any more, and it may take long.
            with suppress(psycopg.Error):
                right.connection.cancel_safe()
            raise


def different_buckets(left: BucketSums, right: BucketSums) -> frozenset[int]:
    """The buckets in which something differs. Pure."""
    return frozenset(bucket for bucket in left.keys() | right.keys() if left.get(bucket) != right.get(bucket))


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """Which rows have to be looked at one by one.

    Attributes:
        buckets: They are in these; none where nothing differs.
        rows: How many of the left side are in them.
        rest: How many of the left side are in all others, where both sides are the same.
    """

    buckets: Buckets
    rows: int
    rest: int


def choose_buckets(left: Side, right: Side, *, also: int = 0) -> Chosen:
    """Find the buckets in which the two differ; reads every row once on either side, some of them twice.

    Args:
        left: One table.
        right: The other one, with the same key and columns.
        also: So many buckets are added in which nothing differs, the smallest first.
    """
    sums = of_both(left, right, Side.sums)
    wanted = different_buckets(*sums)
    rows = {bucket: count for bucket, (count, _) in sums[0].items()}
    total, count = sum(rows.values()), BUCKETS
    equal = sorted(sums[0].keys() - wanted, key=rows.__getitem__)[:also]
    most = max(sum(side[bucket][0] for bucket in wanted if bucket in side) for side in sums)
    if most >= _FROM_ROWS and _share_that_differs(left, right, wanted) < _WORTH:
        within, count = Buckets(these=wanted), _SMALL_BUCKETS
        small = of_both(left, right, lambda side: side.sums(count=_SMALL_BUCKETS, within=within))
        # Those that were not summed again are known as a whole, and have all numbers that end like theirs.
        whole = {bucket + step: 0 for bucket in equal for step in range(0, _SMALL_BUCKETS, BUCKETS)}
        whole |= {bucket: rows[bucket] for bucket in equal}
        wanted = different_buckets(*small)
        rows = {bucket: number for bucket, (number, _) in small[0].items()} | whole
        equal = [*whole] or sorted(small[0].keys() - wanted, key=rows.__getitem__)[:also]
    these = wanted | frozenset(equal)
    inside = sum(rows.get(bucket, 0) for bucket in these)
    return Chosen(buckets=Buckets(these=these, count=count), rows=inside, rest=total - inside)


def _share_that_differs(left: Side, right: Side, wanted: frozenset[int]) -> float:
    """Of the rows of the wanted buckets, as a few of them have it; to look for these costs little."""
    some = Buckets(these=frozenset(sorted(wanted)[:_SAMPLE]))
    seen = of_both(left, right, lambda side: _hashes(side, some))
    both = len(set(seen[0]) & set(seen[1]))
    return 1 - both / max(1, *map(len, seen))


def _hashes(side: Side, buckets: Buckets) -> list[tuple[int, Any]]:
    rows = side.rows(buckets, digest=side.source.row_hash, further=sql.NULL)
    return [(row.key_hash, row.digest) for row in rows]


def read_both(
    left: Side, right: Side, buckets: Buckets, *, digest: sql.Composable, further: sql.Composable
) -> tuple[Iterator[BucketRow[Any]], Iterator[BucketRow[Any]]]:
    """The rows of some buckets of both sides, which find and sort them at the same time; see `Side.rows`."""

    def begun(side: Side) -> Iterator[BucketRow[Any]]:
        rows = side.rows(buckets, digest=digest, further=further)
        first = [row for row in (next(rows, None),) if row is not None]
        return chain(first, rows)

    return of_both(left, right, begun)


Further = TypeVar("Further")


class BucketRow(NamedTuple, Generic[Further]):
    """One row of a bucket.

    Attributes:
        key_hash: The rows come in its order.
        key: The key's text; of a source without a key the whole row's.
        digest: What tells its compared values from others.
        further: What else was asked for.
    """

    key_hash: int
    key: str
    digest: Any
    further: Further


Pair = tuple[BucketRow[Further] | None, BucketRow[Further] | None]


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
