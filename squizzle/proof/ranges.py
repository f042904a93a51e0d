"""Digests of tables piece by piece, so that only the pieces that changed are read the next time.

The digest of a table is a sum over its rows, so it is the sum of the digests of its ranges of blocks. A row that was
not touched stays where it is, and its text stays the same as long as nothing outside the table has a say in it. So the
digest of a range holds until one of its blocks changes, or the table gets another file or other columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from psycopg import sql

from squizzle.errors import BackupDamagedError
from squizzle.postgres.access import Connection
from squizzle.proof.digests import TableRows, digest_whole_table
from squizzle.proof.records import TableDigest

RANGE_BLOCKS = 512
"""Blocks of a range, 4 MB: a table of 1 TB has 262,144 ranges, which are 6 MB of JSON."""

READ_AGAIN_EVERY = 16
"""A range that did not change is read all the same in one of so many increments, whether it really did not."""

# PostgreSQL plans as many in less than 30 ms, and lets its workers share them out (Parallel Append).
_RANGES_A_QUERY = 256

# By block numbers alone nothing can be said of: what the log does not have (unlogged tables); values that are computed
# when they are read; types whose text depends on other objects (names of roles and relations, labels, fields).
_SHAPE = """
    SELECT pg_relation_filenode(c.oid)::bigint, pg_relation_size(c.oid) / current_setting('block_size')::int,
           (SELECT md5(string_agg(concat_ws(' ', a.attnum, quote_ident(a.attname), a.atttypid, a.atttypmod,
                                            a.attmissingval), ',' ORDER BY a.attnum))
            FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
           c.relpersistence = 'p' AND (SELECT amname FROM pg_am WHERE oid = c.relam) = 'heap'
           AND NOT EXISTS (
               SELECT FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
               WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                 AND (a.attgenerated NOT IN ('', 's') OR t.typtype <> 'b'
                      OR t.typnamespace <> 'pg_catalog'::regnamespace
                      OR ltrim(t.typname, '_') LIKE 'reg%%' OR ltrim(t.typname, '_') = 'aclitem'))
    FROM pg_class c WHERE c.oid = %s::text::regclass
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class TableRanges:
    """The digests of a table's ranges.

    Attributes:
        filenode: Number of the table's file; another one after it was written anew.
        columns: Hash over what its columns are.
        ranges: Rows and digest of each range of `RANGE_BLOCKS` blocks, from the first block on.
    """

    filenode: int
    columns: str
    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Changes:
    """What changed in the files of a database since digests were taken.

    Attributes:
        ranges: Numbers of ranges in which a block may have changed, by the file's number.
        anew: Files that were made, cut or emptied.
    """

    ranges: Mapping[int, frozenset[int]] = field(default_factory=dict)
    anew: frozenset[int] = frozenset()


class RangeDigester:
    """Digests tables in a snapshot, reading only what changed.

    Args:
        known: What was found last time, by the table's qualified name.
        changes: What changed since; None when that is not known, and everything is read.
        turn: Another number each time, so that other ranges are read again.
    """

    def __init__(self, known: Mapping[str, TableRanges], changes: Changes | None, *, turn: int = 0) -> None:
        self._known = known if changes else {}
        self._turn = turn
        self._changes = changes or Changes()
        self.found: dict[str, TableRanges] = {}
        self._read = 0
        self._kept = 0

    def __call__(self, connection: Connection, table: TableRows) -> TableDigest:
        """The digest of a table; see `TableDigester`.

        Raises:
            BackupDamagedError: A range changed of which the server says that it did not.
        """
        # Locked first, until the snapshot ends: nobody gives it another file meanwhile, or cuts off empty blocks.
        connection.execute(sql.SQL("SELECT FROM ONLY {} LIMIT 0").format(table.source))
        row = connection.execute(_SHAPE, (table.name,)).fetchone()
        if row is None or not row[3]:
            return digest_whole_table(connection, table)
        filenode, blocks, columns, _ = row
        count = -(-blocks // RANGE_BLOCKS)
        kept = self._still_true(self._known.get(table.name), filenode, columns)
        turn = self._turn + filenode
        wanted = [number for number in range(count) if number not in kept or (number + turn) % READ_AGAIN_EVERY == 0]
        read = _digest_ranges(connection, table, wanted)
        if any(number in kept and kept[number] != one for number, one in read.items()):
            raise _change_unknown_to_the_server(table)
        found = kept | read
        self._read += len(wanted)
        self._kept += count - len(wanted)
        ranges = tuple(found[number] for number in range(count))
        self.found[table.name] = TableRanges(filenode=filenode, columns=columns, ranges=ranges)
        return TableDigest(
            table=table.name, rows=sum(rows for rows, _ in ranges), digest=str(sum(digest for _, digest in ranges))
        )

    def summary(self) -> str:
        """How much of it was read, in words."""
        return f"{self._read} of {self._read + self._kept} read"

    def _still_true(self, known: TableRanges | None, filenode: int, columns: str) -> dict[int, tuple[int, int]]:
        if known is None or (known.filenode, known.columns) != (filenode, columns) or filenode in self._changes.anew:
            return {}
        changed = self._changes.ranges.get(filenode, frozenset())
        return {number: one for number, one in enumerate(known.ranges) if number not in changed}


def _change_unknown_to_the_server(table: TableRows) -> BackupDamagedError:
    return BackupDamagedError(
        f"rows of {table.name} changed in blocks that did not, as the server's summaries of its log have it: an"
        " increment would lack them; nothing was published",
        hint="take a new copy of the whole cluster (squizzle backup physical), and look for damage in the server's"
        " files; rely on an increment of the last chain only when verify-backup --restore has passed on it",
    )


def _digest_ranges(connection: Connection, table: TableRows, numbers: list[int]) -> dict[int, tuple[int, int]]:
    found: dict[int, tuple[int, int]] = {}
    for first in range(0, len(numbers), _RANGES_A_QUERY):
        selects = [
            sql.SQL("SELECT {}::int, {} FROM ONLY {} WHERE t.ctid >= {}::tid AND t.ctid < {}::tid").format(
                number,
                table.digest,
                table.source,
                f"({number * RANGE_BLOCKS},0)",
                f"({(number + 1) * RANGE_BLOCKS},0)",
            )
            for number in numbers[first : first + _RANGES_A_QUERY]
        ]
        for number, rows, digest in connection.execute(sql.SQL(" UNION ALL ").join(selects)):
            found[number] = (rows, int(digest))
    return found
