"""Reading everything readable out of a damaged table of a copy: by runs of sound pages, halved around what fails."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psycopg
from psycopg import sql

from squizzle.errors import CouldNotVerifyError
from squizzle.headway import Unit, stretch
from squizzle.postgres.access import Connection
from squizzle.postgres.translation import is_connection_loss, server_words
from squizzle.recovery.corruption.asking import Asker
from squizzle.recovery.corruption.copying import DamagedCopy
from squizzle.recovery.corruption.structure import Relation, sound_runs

# 32 MB at a time: what fails is halved, and what was read of a run until then is read again.
_RUN_PAGES = 4096
# Resources, rights, a program that is told to end: these say nothing about the data.
_NOT_DAMAGE = ("28", "3D", "42", "53", "57")
_LIBRARY_IS_MISSING = "could not access file"


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A column as rows of it are written and read again; generated ones are none."""

    name: str
    type: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """How one table is read.

    Attributes:
        relation: The table.
        columns: In the order of the table.
        key: The columns that name a row: of the primary key, else of a unique index; empty where there is none.
        index: The sound index of that key; None where there is none.
    """

    relation: Relation
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    index: int | None

    @property
    def table(self) -> sql.Identifier:
        """Its name in SQL."""
        return sql.Identifier(self.relation.schema, self.relation.bare_name)


@dataclass(kw_only=True, slots=True)
class Reading:
    """What was read of one table so far.

    Attributes:
        rows: Rows that were written.
        unreadable_pages: Blocks that gave no row at all.
        unreadable_rows: Places of rows that could not be read, with the server's words.
        lost_values: (place, key as text, column, the server's words) of values that could not be read.
        keys: Keys of the rows that were read one by one.
    """

    rows: int = 0
    unreadable_pages: list[int] = field(default_factory=list)
    unreadable_rows: list[str] = field(default_factory=list)
    lost_values: list[tuple[str, str, str, str]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)


_COLUMNS = """
    SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
    WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum
"""
_KEYS = """
    SELECT i.indexrelid::bigint, array_agg(a.attname::text ORDER BY k.place) FROM pg_index i
    CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(number, place)
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
    WHERE i.indrelid = %s AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
      AND k.place <= i.indnkeyatts
    GROUP BY i.indexrelid ORDER BY bool_or(i.indisprimary) DESC, i.indexrelid
"""


def read_shape(connection: Connection, relation: Relation, sound: Callable[[int], bool]) -> Shape:
    """How a table's rows are written down, and which index can be asked what rows there were. Nothing is changed.

    Args:
        connection: A session in the copy.
        relation: The table.
        sound: Whether an index, by its number, is free of damage.
    """
    columns = connection.execute(_COLUMNS, (relation.oid,)).fetchall()
    keys = [(int(oid), tuple(names)) for oid, names in connection.execute(_KEYS, (relation.oid,))]
    index = next((one for one in keys if sound(one[0])), None)
    return Shape(
        relation=relation,
        columns=tuple(Column(name=name, type=kind) for name, kind in columns),
        key=(index or (keys[0] if keys else (0, ())))[1],
        index=index[0] if index else None,
    )


class TableReader:
    """Reads one table of a copy into a file.

    Args:
        copy: Which copy.
        database: Where the table is.
        shape: The table.
        output: Where rows go, in COPY's text form.
        ignore: Whether pages are read whose checksum is wrong; their rows are doubtful.
    """

    def __init__(self, copy: DamagedCopy, database: str, shape: Shape, output: IO[bytes], *, ignore: bool) -> None:
        self._asker = Asker(copy, database, ignore=ignore)
        self._shape = shape
        self._output = output
        self.found = Reading()

    def close(self) -> None:
        """End the session."""
        self._asker.close()

    def read_around(self, damaged: Iterable[int]) -> None:
        """Write every row of the pages that are not damaged, and list what cannot be read of them.

        Raises:
            CouldNotVerifyError: The copy lacks something that has nothing to do with damage.
        """
        relation = self._shape.relation
        with stretch(f"reading {relation.name}", unit=Unit.PAGES, total=relation.pages) as headway:
            for first, last in sound_runs(relation.pages, damaged):
                for start in range(first, last + 1, _RUN_PAGES):
                    self._read_run(start, min(start + _RUN_PAGES - 1, last))
                    headway.at(start)

    def read_page(self, block: int, *, only: Collection[int] = (), but: Collection[int] = ()) -> None:
        """Write the rows of one page, each by itself, and list what cannot be read of it.

        Args:
            block: Which page.
            only: The numbers of the only lines to read; empty for all.
            but: Lines not to read.
        """
        try:
            places = self._places(block)
        except psycopg.Error as exc:
            self._note(exc)
            self.found.unreadable_pages.append(block)
            return
        for place in places:
            line = int(place.strip("()").split(",")[1])
            if line not in but and (not only or line in only):
                self._read_row(place)

    def _read_run(self, first: int, last: int) -> None:
        start = self._output.tell()
        try:
            self.found.rows += self._copy_out(self._run_of(first, last))
        except psycopg.Error as exc:
            self._note(exc)
            self._output.seek(start)
            self._output.truncate()
            if first == last:
                self.read_page(first)
                return
            middle = (first + last) // 2
            self._read_run(first, middle)
            self._read_run(middle + 1, last)

    def _read_row(self, place: str) -> None:
        where = sql.SQL("ctid = {}::tid").format(sql.Literal(place))
        start = self._output.tell()
        try:
            count = self._copy_out(where)
            key = self._key_of(where)
        except psycopg.Error as exc:
            self._note(exc)
            self._output.seek(start)
            self._output.truncate()
            self._read_row_without(place, where, server_words(exc))
            return
        self.found.rows += count
        if count and key:
            self.found.keys.append(key)

    def _read_row_without(self, place: str, where: sql.Composed, why: str) -> None:
        """Write a row without the values that cannot be read; a row of which no value can be read is listed."""
        lost: list[tuple[str, str]] = []
        for column in self._shape.columns:
            try:
                self._read_value(column.name, where)
            except psycopg.Error as exc:
                self._note(exc)
                lost.append((column.name, server_words(exc)))
        names = {name for name, _ in lost}
        if not lost or len(lost) == len(self._shape.columns) or names & set(self._shape.key):
            self.found.unreadable_rows.append(f"{place}: {why}")
            return
        start = self._output.tell()
        try:
            key = self._key_of(where)
            self.found.rows += self._copy_out(where, without=names)
        except psycopg.Error as exc:
            self._note(exc)
            self._output.seek(start)
            self._output.truncate()
            self.found.unreadable_rows.append(f"{place}: {server_words(exc)}")
            return
        self.found.lost_values += [(place, key, name, words) for name, words in lost]
        if key:
            self.found.keys.append(key)

    # What is asked

    def _read_value(self, column: str, where: sql.Composed) -> None:
        # Its hash: the length alone is known without the value.
        query = sql.SQL("SELECT hashtext({}::text) FROM {} WHERE {}").format(
            sql.Identifier(column), self._shape.table, where
        )
        self._asker.ask(lambda session: session.execute(query))

    def _run_of(self, first: int, last: int) -> sql.Composed:
        return sql.SQL("ctid >= {}::tid AND ctid < {}::tid").format(
            sql.Literal(f"({first},0)"), sql.Literal(f"({last + 1},0)")
        )

    def _places(self, block: int) -> list[str]:
        query = sql.SQL("SELECT ctid::text FROM {} WHERE {}").format(self._shape.table, self._run_of(block, block))
        return self._asker.ask(lambda session: [place for (place,) in session.execute(query)])

    def _key_of(self, where: sql.Composed) -> str:
        if not self._shape.key:
            return ""
        query = sql.SQL("SELECT {} FROM {} WHERE {}").format(key_text(self._shape.key), self._shape.table, where)
        row = self._asker.ask(lambda session: session.execute(query).fetchone())
        return str(row[0]) if row else ""

    def _copy_out(self, where: sql.Composed, *, without: frozenset[str] | set[str] = frozenset()) -> int:
        columns = [
            sql.SQL("NULL::{}").format(sql.SQL(one.type)) if one.name in without else sql.Identifier(one.name)
            for one in self._shape.columns
        ]
        start = self._output.tell()

        def write_from_the_start(session: Connection) -> int:
            self._output.seek(start)
            self._output.truncate()
            query = sql.SQL("COPY (SELECT {} FROM {} WHERE {}) TO STDOUT").format(
                sql.SQL(", ").join(columns), self._shape.table, where
            )
            with session.cursor() as cursor:
                with cursor.copy(query) as rows:
                    for chunk in rows:
                        self._output.write(chunk)
                return cursor.rowcount

        return self._asker.ask(write_from_the_start)

    def _note(self, exc: psycopg.Error) -> None:
        """Go on after what damage does, a server that ended among it; give up for anything else."""
        if is_connection_loss(exc):
            return
        if (exc.sqlstate or "").startswith(_NOT_DAMAGE) or _LIBRARY_IS_MISSING in str(exc):
            raise CouldNotVerifyError(
                f"{self._shape.relation.name} cannot be read in the copy: {server_words(exc)}",
                hint="that is no damage: install what is missing (extensions of the damaged server), then run again",
            ) from exc


def key_text(key: Sequence[str]) -> sql.Composed:
    """A key as one text: a single column as it is, several as a row."""
    names = [sql.Identifier(one) for one in key]
    return (
        sql.SQL("{}::text").format(names[0])
        if len(names) == 1
        else sql.SQL("ROW({})::text").format(sql.SQL(", ").join(names))
    )


def hash_of(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
