"""Which indexes a killed CREATE INDEX CONCURRENTLY or REINDEX CONCURRENTLY left, and which it had finished."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass

import psycopg
from psycopg import sql

from squizzle.analysis.grammar import Tree, write_index_statement
from squizzle.postgres.access import Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundIndex:
    """An index of the table that a statement is about.

    Attributes:
        schema: Its schema.
        name: Its name.
        valid: Whether queries use it.
        shape: Its definition without its own and its table's name.
    """

    schema: str
    name: str
    valid: bool
    shape: str


# An index that is being built is invalid, too; whoever builds it is still at work.
_INDEXES = """
    SELECT n.nspname, i.relname, x.indisvalid, replace(
        pg_get_indexdef(i.oid),
        format('INDEX %%I ON %%s.%%I USING', i.relname,
               CASE WHEN n.oid = pg_my_temp_schema() THEN 'pg_temp' ELSE quote_ident(n.nspname) END, t.relname),
        'INDEX USING'
    )
    FROM pg_index x
    JOIN pg_class i ON i.oid = x.indexrelid
    JOIN pg_class t ON t.oid = x.indrelid
    JOIN pg_namespace n ON n.oid = t.relnamespace
    WHERE t.oid = to_regclass(%s)
      AND NOT EXISTS (SELECT 1 FROM pg_stat_progress_create_index p WHERE i.oid = p.index_relid)
    ORDER BY i.oid
"""
_COPY = re.compile(r"(.+)_cc(?:new|old)[0-9]*")
# Names of 63 bytes are full; a character that would be cut in two is left out.
_CUT = 60
_TABLE_OF_INDEX = "SELECT indrelid::regclass::text FROM pg_index WHERE indexrelid = to_regclass(%s)"


def invalid_indexes(connection: Connection, tree: Tree) -> tuple[FoundIndex, ...]:
    """The invalid indexes that an earlier try of a CREATE INDEX CONCURRENTLY left. Only looks.

    Args:
        connection: A session outside a transaction.
        tree: The statement.
    """
    invalid = tuple(index for index in _indexes(connection, _name(tree.relation)) if not index.valid)
    if tree.idxname or not invalid:
        return tuple(index for index in invalid if index.name == tree.idxname)
    twin = _twin(connection, tree)
    return tuple(index for index in invalid if twin and _has_same_name(index, twin) and index.shape == twin.shape)


def finished_index(connection: Connection, tree: Tree) -> bool:
    """Whether what a CREATE INDEX CONCURRENTLY is to make is there and valid. Only looks."""
    valid = [index for index in _indexes(connection, _name(tree.relation)) if index.valid]
    if tree.idxname:
        valid = [index for index in valid if index.name == tree.idxname]
    twin = _twin(connection, tree) if valid else None
    if twin is None:
        return bool(valid and tree.idxname)
    return any(index.shape == twin.shape and (tree.idxname or _has_same_name(index, twin)) for index in valid)


def invalid_copies(connection: Connection, tree: Tree) -> tuple[FoundIndex, ...]:
    """The copies that a killed REINDEX CONCURRENTLY of an index or a table left. Only looks."""
    relation = _name(tree.relation)
    kind = tree.DESCRIPTOR.fields_by_name["kind"].enum_type.values_by_number[tree.kind].name
    if kind == "REINDEX_OBJECT_INDEX":
        row = connection.execute(_TABLE_OF_INDEX, (relation,)).fetchone()
        return _copies(connection, str(row[0]), of=tree.relation.relname) if row else ()
    return _copies(connection, relation) if kind == "REINDEX_OBJECT_TABLE" else ()


def _copies(connection: Connection, table: str, *, of: str | None = None) -> tuple[FoundIndex, ...]:
    indexes = _indexes(connection, table)
    originals = [index.name for index in indexes if index.valid] if of is None else [of]
    return tuple(
        index for index in indexes if not index.valid and any(_is_copy(index.name, original) for original in originals)
    )


def _is_copy(name: str, original: str) -> bool:
    """REINDEX CONCURRENTLY puts `_ccnew` or `_ccold` and perhaps a number behind a name, which it cuts if it must."""
    match = _COPY.fullmatch(name)
    return match is not None and (
        match[1] == original or (len(name.encode()) >= _CUT and original.startswith(match[1]))
    )


def _has_same_name(index: FoundIndex, twin: FoundIndex) -> bool:
    """The server puts a number behind a name that it chose and that is taken, and cuts what is too long."""
    stem = index.name.rstrip("0123456789")
    return twin.name in {index.name, stem} or (
        len(index.name.encode()) >= _CUT and stem.endswith("_idx") and twin.name.startswith(stem[: -len("_idx") - 2])
    )


def _indexes(connection: Connection, table: str) -> list[FoundIndex]:
    rows = connection.execute(_INDEXES, (table,))
    return [FoundIndex(schema=schema, name=name, valid=valid, shape=shape) for schema, name, valid, shape in rows]


def _twin(connection: Connection, tree: Tree) -> FoundIndex | None:
    """What the statement makes on an empty copy of its table, which is gone again: the server's own words for it.

    Only the server knows the name that it chooses and how it writes an expression. None when it cannot be made.
    """
    copy = type(tree)()
    copy.CopyFrom(tree)
    copy.concurrent = False
    copy.relation.schemaname = "pg_temp"
    command = write_index_statement(copy)
    if command is None:
        return None
    twin = sql.Identifier("pg_temp", tree.relation.relname)
    with suppress(psycopg.Error), connection.transaction(force_rollback=True):
        connection.execute(sql.SQL("CREATE TABLE {} (LIKE {})").format(twin, qualified_name(tree.relation)))
        connection.execute(command.encode())
        return next(iter(_indexes(connection, twin.as_string(None))), None)
    return None


def qualified_name(relation: Tree) -> sql.Identifier:
    """The name of a relation as a statement says it, with its schema or without."""
    schema = (relation.schemaname,) if relation.schemaname else ()
    return sql.Identifier(*schema, relation.relname)


def _name(relation: Tree) -> str:
    return qualified_name(relation).as_string(None)
