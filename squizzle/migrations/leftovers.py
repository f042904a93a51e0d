"""What a killed or failed statement outside a transaction leaves, and whether it had finished after all.

CREATE INDEX CONCURRENTLY that does not reach its end leaves an invalid index, which every write keeps up and no query
uses (manual, "Building Indexes Concurrently"); its next try would stumble over the name.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from squizzle.analysis.grammar import parse_statement
from squizzle.analysis.records import Statement
from squizzle.postgres.access import Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class _Index:
    """What CREATE INDEX CONCURRENTLY is to make; `schema` is empty when the search path decides."""

    name: str
    schema: str
    table: str


def clear_leftover(connection: Connection, statement: Statement) -> str:
    """Drop the invalid index that an earlier try of this very statement left; returns its name, or nothing.

    An invalid index under another name, or on another table, is somebody else's and stays.

    Raises:
        psycopg.Error: It cannot be dropped; it is still there, invalid.
    """
    index = _created_index(statement)
    if index is None or _is_valid(connection, index) is not False:
        return ""
    qualified = sql.Identifier(index.schema, index.name) if index.schema else sql.Identifier(index.name)
    connection.execute(sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(qualified))
    return index.name


def is_already_done(connection: Connection, statement: Statement) -> bool:
    """Whether a statement that a killed run may have finished has been finished, though nobody noted it. Only looks."""
    index = _created_index(statement)
    if index is not None:
        return _is_valid(connection, index) is True
    dropped = _dropped_index(statement)
    return dropped is not None and not _exists(connection, dropped)


def _created_index(statement: Statement) -> _Index | None:
    if statement.words[:1] != ("CREATE",) or "CONCURRENTLY" not in statement.words[:4]:
        return None
    parsed = parse_statement(statement.sql)
    if parsed is None:
        return None  # newer syntax than our grammar; the server decides
    tree = parsed.index_stmt
    if not tree.idxname:
        return None  # the server chooses the name, so nobody can tell whose leftover an index is
    return _Index(name=tree.idxname, schema=tree.relation.schemaname, table=tree.relation.relname)


def _dropped_index(statement: Statement) -> str | None:
    if statement.words[:3] != ("DROP", "INDEX", "CONCURRENTLY"):
        return None
    parsed = parse_statement(statement.sql)
    if parsed is None:
        return None
    names = [part.string.sval for part in parsed.drop_stmt.objects[0].list.items]
    return ".".join(sql.Identifier(name).as_string(None) for name in names)


def _is_valid(connection: Connection, index: _Index) -> bool | None:
    """None when there is no such index on that table."""
    row = connection.execute(
        "SELECT x.indisvalid FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid"
        " JOIN pg_class t ON t.oid = x.indrelid JOIN pg_namespace n ON n.oid = t.relnamespace"
        " WHERE i.relname = %s AND t.relname = %s"
        " AND CASE WHEN %s = '' THEN pg_table_is_visible(t.oid) ELSE n.nspname = %s END",
        (index.name, index.table, index.schema, index.schema),
    ).fetchone()
    return None if row is None else bool(row[0])


def _exists(connection: Connection, name: str) -> bool:
    return connection.execute("SELECT to_regclass(%s) IS NOT NULL", (name,)).fetchone() == (True,)
