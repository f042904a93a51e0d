"""Which rows the damaged pages held, as a sound index knows them.

An index-only scan looks a row up in its page wherever the map of visible pages does not spare it that. So in the copy
every damaged page is replaced by a hollow one, on which every row is there and visible: the scan goes through, and
gives out the keys from the index. The keys of the sound pages are taken away from them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import psycopg
from psycopg import sql

from squizzle.postgres.access import Connection
from squizzle.postgres.translation import is_connection_loss, server_words
from squizzle.recovery.corruption.asking import Asker
from squizzle.recovery.corruption.copying import DamagedCopy
from squizzle.recovery.corruption.pages import hollow_page
from squizzle.recovery.corruption.reading import Shape, key_text
from squizzle.recovery.corruption.records import DamagedPage
from squizzle.recovery.corruption.structure import sound_runs


@dataclass(frozen=True, kw_only=True, slots=True)
class Missing:
    """What an index knows and the sound pages do not have.

    Attributes:
        keys: As texts, ordered; None when it could not be told.
        why_not: Why not.
    """

    keys: tuple[str, ...] | None
    why_not: str = ""


def hollow_out(copy: DamagedCopy, pages: Sequence[DamagedPage], *, checksums: bool) -> None:
    """Replace damaged pages of a copy by hollow ones; it is stopped before and started after.

    From then on the tables are good for nothing but being asked for keys.

    Args:
        copy: Which copy.
        pages: Of tables; those behind the end of a file without a gap.
        checksums: Whether the cluster has checksums.
    """
    write_pages(copy, {page: hollow_page(page.block, checksums=checksums) for page in pages})


def write_pages(copy: DamagedCopy, contents: Mapping[DamagedPage, bytes]) -> None:
    """Write over pages of a copy; it is stopped before and started after."""
    copy.stop()
    for page, content in contents.items():
        with copy.pages_file(page.file).open("r+b") as file:
            file.seek(page.offset)
            file.write(content)
    copy.start()


def missing_keys(copy: DamagedCopy, database: str, shape: Shape, damaged: set[int]) -> Missing:
    """The keys that the index of a table has, without those of its sound pages.

    Among them may be keys of rows that had been deleted or changed before and were not yet removed by VACUUM, as far
    as no other page has the key.

    Args:
        copy: One that was hollowed out, running.
        database: Where the table is.
        shape: The table.
        damaged: Blocks whose rows do not count.
    """
    index = shape.index
    with closing(Asker(copy, database)) as asker:
        if index is None:
            what = "every unique index of it is damaged, too" if shape.key else "it has no unique index"
            return Missing(keys=None, why_not=f"{what}{asker.ask(lambda session: _estimate(session, shape))}")
        try:
            return asker.ask(lambda session: _missing_keys(session, shape, index, damaged))
        except psycopg.Error as exc:
            crashed = is_connection_loss(exc)
            return Missing(keys=None, why_not="the server crashes when it is asked" if crashed else server_words(exc))


def _missing_keys(connection: Connection, shape: Shape, index: int, damaged: set[int]) -> Missing:
    with connection.transaction(force_rollback=True):
        return _keys_known_to(index, connection, shape, damaged)


def _keys_known_to(index: int, connection: Connection, shape: Shape, damaged: set[int]) -> Missing:
    # No other index may be chosen. In a copy, and rolled back.
    connection.execute(
        "UPDATE pg_index SET indisvalid = false WHERE indrelid = %s AND indexrelid <> %s", (shape.relation.oid, index)
    )
    key = key_text(shape.key)
    ask = sql.SQL("SELECT {} AS key FROM ONLY {}").format(key, shape.table)
    plan = connection.execute(sql.SQL("EXPLAIN (FORMAT JSON) {}").format(ask)).fetchone()
    if '"Index Only Scan"' not in json.dumps(plan):
        return Missing(keys=None, why_not="its index cannot be read without the table")
    connection.execute(sql.SQL("CREATE TEMPORARY TABLE squizzle_known ON COMMIT DROP AS {}").format(ask))
    connection.execute("CREATE TEMPORARY TABLE squizzle_sound (key text) ON COMMIT DROP")
    for first, last in sound_runs(shape.relation.pages, damaged):
        connection.execute(
            sql.SQL("INSERT INTO squizzle_sound {} WHERE ctid >= {}::tid AND ctid < {}::tid").format(
                ask, sql.Literal(f"({first},0)"), sql.Literal(f"({last + 1},0)")
            )
        )
    rows = connection.execute(
        "SELECT key FROM squizzle_known WHERE key IS NOT NULL EXCEPT SELECT key FROM squizzle_sound"
    ).fetchall()
    return Missing(keys=tuple(sorted((key for (key,) in rows), key=_natural)))


def _estimate(connection: Connection, shape: Shape) -> str:
    row = connection.execute("SELECT reltuples FROM pg_class WHERE oid = %s", (shape.relation.oid,)).fetchone()
    return f"; the last VACUUM or ANALYZE counted about {row[0]:,.0f} rows" if row and row[0] > 0 else ""


def _natural(key: str) -> tuple[int, str]:
    """Numbers in their order."""
    return (len(key), key) if key.isdecimal() else (0, key)
