"""Putting salvaged rows into the recovered database, and saying of each that cannot go in what stands in the way.

A row that was added goes in under its key. A row that was changed is merged three ways, column by column: what the
damaged side changed since the backup is taken over where the recovered side still has the backup's value. A row whose
key, columns or foreign keys do not allow it is a conflict, and stays kept.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import LiteralString

import psycopg
from psycopg import sql

from squizzle.errors import DatabaseState, InvalidInputError
from squizzle.postgres.access import Connection
from squizzle.postgres.translation import is_connection_loss, server_words, translate_error
from squizzle.recovery.salvage.differences import read_layouts
from squizzle.recovery.salvage.keeping import find_salvage
from squizzle.recovery.salvage.records import Conflict, Merge, RowKind, RowState, TableLayout

_Numbers = list[int]


def merge_rows(
    connection: Connection,
    salvage_id: str | None,
    *,
    tables: Collection[str] = (),
    kinds: Collection[RowKind] = (RowKind.ADDED,),
    dry_run: bool = False,
) -> Merge:
    """Merge salvaged rows in one transaction; conflicts are noted beside the rows and stop nothing. Safe to repeat.

    Triggers fire as for any client. Rows whose parents are conflicts are conflicts, too.

    Args:
        connection: A session in the recovered database.
        salvage_id: Which salvage; None for the newest.
        tables: Only these, qualified and quoted; none for all.
        kinds: Which kinds of rows.
        dry_run: Undo everything at the end.

    Raises:
        InvalidInputError: No such salvage, or a table that it has no rows of; nothing was changed.
        DatabaseError: No right to write, or the session was lost; all or nothing was merged.
    """
    salvage = find_salvage(connection, salvage_id)
    unknown = set(tables) - {table.table for table in salvage.tables}
    if unknown:
        raise InvalidInputError(
            f"salvage {salvage.id} has no rows of {', '.join(sorted(unknown))}",
            hint=f"it has rows of {', '.join(table.table for table in salvage.tables)}",
        )
    try:
        with connection.transaction(force_rollback=dry_run):
            connection.execute("SET LOCAL lock_timeout = '5s'; SET LOCAL lc_monetary = 'C'; SET LOCAL DateStyle = ISO")
            connection.execute("SELECT FROM squizzle_salvage.salvage WHERE id = %s FOR UPDATE", (salvage.id,))
            open_rows = _open_rows(connection, salvage.id, tables, kinds)
            _merge_all(connection, salvage.id, open_rows)
            return _outcome(connection, salvage.id, open_rows, dry_run=dry_run)
    except psycopg.Error as exc:
        state = DatabaseState.UNKNOWN if is_connection_loss(exc) else DatabaseState.UNTOUCHED
        raise translate_error(exc, doing=f"merge the rows of salvage {salvage.id}", database_state=state) from exc


def _open_rows(
    connection: Connection, salvage_id: str, tables: Collection[str], kinds: Collection[RowKind]
) -> dict[tuple[str, RowKind], _Numbers]:
    rows = connection.execute(
        "SELECT table_name, kind, array_agg(number ORDER BY number) FROM squizzle_salvage.row"
        " WHERE salvage = %s AND state <> 'merged' AND kind = ANY(%s) AND (%s OR table_name = ANY(%s)) GROUP BY 1, 2",
        (salvage_id, [kind.value for kind in kinds], not tables, list(tables)),
    )
    return {(table, RowKind(kind)): numbers for table, kind, numbers in rows}


def _merge_all(connection: Connection, salvage_id: str, open_rows: dict[tuple[str, RowKind], _Numbers]) -> None:
    """Table after table, parents first; again as long as that lets further rows in, such as children of theirs."""
    layouts = read_layouts(connection)
    order = {table: place for place, table in enumerate(_parents_first(connection, sorted(layouts)))}
    waiting = dict(sorted(open_rows.items(), key=lambda one: (order.get(one[0][0], len(order)), one[0][1].value)))
    while waiting:
        left: dict[tuple[str, RowKind], _Numbers] = {}
        for (table, kind), numbers in waiting.items():
            layout = layouts.get(table)
            if layout is None:
                _note(connection, salvage_id, numbers, RowState.CONFLICT, "the database has no such table")
                continue
            work = _Work(connection=connection, salvage_id=salvage_id, layout=layout, kind=kind)
            refused = work.merge(numbers)
            if refused:
                left[table, kind] = refused
        if sum(map(len, left.values())) == sum(map(len, waiting.values())):
            return
        waiting = left


def _parents_first(connection: Connection, tables: list[str]) -> list[str]:
    rows = connection.execute(
        "SELECT format('%I.%I', cn.nspname, c.relname), format('%I.%I', pn.nspname, p.relname)"
        " FROM pg_constraint f JOIN pg_class c ON c.oid = f.conrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace"
        " JOIN pg_class p ON p.oid = f.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace"
        " WHERE f.contype = 'f' AND f.conrelid <> f.confrelid"
    )
    parents: dict[str, set[str]] = {table: set() for table in tables}
    for child, parent in rows:
        if child in parents and parent in parents:
            parents[child].add(parent)
    try:
        return list(TopologicalSorter(parents).static_order())
    except CycleError:
        # Then any order will do: what fails is tried again after the others.
        return tables


@dataclass(frozen=True, kw_only=True, slots=True)
class _Work:
    """Rows of one kind of one table that go in together."""

    connection: Connection
    salvage_id: str
    layout: TableLayout
    kind: RowKind

    def merge(self, numbers: _Numbers) -> _Numbers:
        """Merge what can be; returns those that the server refused, each noted with its words."""
        possible = self._unless_there if self.kind is RowKind.ADDED else self._unless_changed_twice
        return self._halve(possible(numbers))

    def _halve(self, numbers: _Numbers) -> _Numbers:
        """All at once; where that fails, each half by itself, down to the rows that are to blame."""
        if not numbers:
            return []
        try:
            with self.connection.transaction():
                self._write(numbers)
                # A constraint that is checked at COMMIT is checked here, where it can be told whose fault it is.
                self.connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
                self.connection.execute("SET CONSTRAINTS ALL DEFERRED")
                _note(self.connection, self.salvage_id, numbers, RowState.MERGED, None)
        except psycopg.Error as exc:
            if is_connection_loss(exc) or not _is_about_rows(exc):
                raise
            if len(numbers) == 1:
                _note(self.connection, self.salvage_id, numbers, RowState.CONFLICT, server_words(exc))
                return numbers
        else:
            return []
        middle = len(numbers) // 2
        return self._halve(numbers[:middle]) + self._halve(numbers[middle:])

    def _write(self, numbers: _Numbers) -> None:
        query = self._insert() if self.kind is RowKind.ADDED else self._update()
        self.connection.execute(query, {"salvage": self.salvage_id, "numbers": numbers})

    @property
    def _kept(self) -> sql.Composable:
        return sql.SQL("squizzle_salvage.row AS r")

    @property
    def _of_these(self) -> sql.Composable:
        return sql.SQL("r.salvage = %(salvage)s AND r.number = ANY(%(numbers)s)")

    @property
    def _table(self) -> sql.Composable:
        only = sql.SQL("" if self.layout.partitioned else "ONLY ")
        return sql.SQL("{}{} AS t").format(only, sql.Identifier(self.layout.schema, self.layout.name))

    def _same_key(self) -> sql.Composable:
        kinds = dict(self.layout.columns)
        return sql.SQL(" AND ").join(
            sql.SQL("{} = (r.damaged ->> {})::{}").format(
                sql.Identifier("t", name), sql.Literal(name), _type(kinds[name])
            )
            for name in self.layout.key
        )

    def _unless_there(self, numbers: _Numbers) -> _Numbers:
        """Rows whose key somebody has used meanwhile: merged when it is the same row, else a conflict."""
        if not self.layout.key:
            return numbers
        same = sql.SQL(" AND ").join(
            sql.SQL("(NOT r.damaged ? {key} OR {column}::text IS NOT DISTINCT FROM r.damaged ->> {key})").format(
                key=sql.Literal(name), column=sql.Identifier("t", name)
            )
            for name, _ in self.layout.columns
        )
        query = sql.SQL("SELECT r.number, {same} FROM {kept} JOIN {table} ON {key} WHERE {these}").format(
            same=same, kept=self._kept, table=self._table, key=self._same_key(), these=self._of_these
        )
        found = self.connection.execute(query, {"salvage": self.salvage_id, "numbers": numbers}).fetchall()
        equal = [number for number, is_same in found if is_same]
        other = [number for number, is_same in found if not is_same]
        _note(self.connection, self.salvage_id, equal, RowState.MERGED, "it was there already")
        _note(self.connection, self.salvage_id, other, RowState.CONFLICT, "another row has this key now")
        there = {number for number, _ in found}
        return [number for number in numbers if number not in there]

    def _unless_changed_twice(self, numbers: _Numbers) -> _Numbers:
        """Rows of which a column was changed on both sides, or that are gone."""
        twice = sql.SQL(" OR ").join(
            sql.SQL(
                "(r.damaged ->> {key} IS DISTINCT FROM r.recovered ->> {key}"
                " AND {column}::text IS DISTINCT FROM r.recovered ->> {key}"
                " AND {column}::text IS DISTINCT FROM r.damaged ->> {key})"
            ).format(key=sql.Literal(name), column=sql.Identifier("t", name))
            for name, _ in self.layout.columns
        )
        query = sql.SQL("SELECT r.number, {twice} FROM {kept} JOIN {table} ON {key} WHERE {these}").format(
            twice=twice, kept=self._kept, table=self._table, key=self._same_key(), these=self._of_these
        )
        rows = self.connection.execute(query, {"salvage": self.salvage_id, "numbers": numbers}).fetchall()
        found: dict[int, bool] = dict(rows)
        gone = [number for number in numbers if number not in found]
        _note(self.connection, self.salvage_id, gone, RowState.CONFLICT, "no row has this key any more")
        both = [number for number, is_twice in found.items() if is_twice]
        _note(self.connection, self.salvage_id, both, RowState.CONFLICT, "a column was changed on both sides")
        return [number for number in numbers if found.get(number) is False]

    def _insert(self) -> sql.Composed:
        # A column that the kept row does not have is left to its default.
        given = self._given_columns()
        return sql.SQL(
            "INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {values} FROM {kept} WHERE {these}"
        ).format(
            table=sql.Identifier(self.layout.schema, self.layout.name),
            columns=sql.SQL(", ").join(sql.Identifier(name) for name, _ in given),
            values=sql.SQL(", ").join(
                sql.SQL("(r.damaged ->> {})::{}").format(sql.Literal(name), _type(kind)) for name, kind in given
            ),
            kept=self._kept,
            these=self._of_these,
        )

    def _update(self) -> sql.Composed:
        key = set(self.layout.key)
        changes = sql.SQL(", ").join(
            sql.SQL(
                "{column} = CASE WHEN r.damaged ->> {key} IS DISTINCT FROM r.recovered ->> {key}"
                " THEN (r.damaged ->> {key})::{kind} ELSE {current} END"
            ).format(
                column=sql.Identifier(name),
                current=sql.Identifier("t", name),
                key=sql.Literal(name),
                kind=_type(kind),
            )
            for name, kind in self._given_columns()
            if name not in key
        )
        return sql.SQL("UPDATE {table} SET {changes} FROM {kept} WHERE {key} AND {these}").format(
            table=self._table, changes=changes, kept=self._kept, key=self._same_key(), these=self._of_these
        )

    def _given_columns(self) -> tuple[tuple[str, str], ...]:
        row = self.connection.execute(
            "SELECT damaged FROM squizzle_salvage.row WHERE salvage = %s AND table_name = %s LIMIT 1",
            (self.salvage_id, self.layout.table),
        ).fetchone()
        given = row[0] if row else {}
        return tuple(column for column in self.layout.columns if column[0] in given)


def _type(name: str) -> sql.SQL:
    # It is the server's own spelling (format_type), quoted where it has to be.
    return sql.SQL(name)


# Integrity, data, and what a trigger raises: the row's fault. Anything else (rights, locks, disk) is not.
_ABOUT_ROWS = ("22", "23", "44", "P0")


def _is_about_rows(exc: psycopg.Error) -> bool:
    return (exc.sqlstate or "")[:2] in _ABOUT_ROWS


_NOTE: LiteralString = "UPDATE squizzle_salvage.row SET state = %s, why = %s WHERE salvage = %s AND number = ANY(%s)"


def _note(connection: Connection, salvage_id: str, numbers: _Numbers, state: RowState, why: str | None) -> None:
    if numbers:
        connection.execute(_NOTE, (state.value, why, salvage_id, numbers))


def _outcome(
    connection: Connection, salvage_id: str, open_rows: dict[tuple[str, RowKind], _Numbers], *, dry_run: bool
) -> Merge:
    numbers = [number for group in open_rows.values() for number in group]
    merged = connection.execute(
        "SELECT table_name, count(*) FROM squizzle_salvage.row"
        " WHERE salvage = %s AND number = ANY(%s) AND state = 'merged' GROUP BY 1 ORDER BY 1",
        (salvage_id, numbers),
    ).fetchall()
    return Merge(
        salvage_id=salvage_id,
        merged=tuple((table, count) for table, count in merged),
        conflicts=tuple(_conflicts(connection, salvage_id, numbers)),
        dry_run=dry_run,
    )


def _conflicts(connection: Connection, salvage_id: str, numbers: _Numbers) -> Iterator[Conflict]:
    rows = connection.execute(
        "SELECT number, table_name, key, coalesce(why, '') FROM squizzle_salvage.row"
        " WHERE salvage = %s AND number = ANY(%s) AND state = 'conflict' ORDER BY number",
        (salvage_id, numbers),
    )
    for number, table, key, why in rows.fetchall():
        yield Conflict(number=number, table=table, key=key, why=why)
