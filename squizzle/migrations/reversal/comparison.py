"""The second generator: a way back of a whole script from what the catalogue says after it and before it.

It sees what no text tells (DO blocks, functions, CASCADE), but takes a new name for a drop and a creation, so it is
used only where the ways back of the statements do not lead back. The work is done by the library pgmig.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import psycopg
from postgast import pg_query_pb2 as pb
from psycopg.conninfo import make_conninfo

from squizzle.analysis.grammar import parse_statement
from squizzle.analysis.statements import split_statements
from squizzle.migrations.reversal.trees import dotted, range_name
from squizzle.postgres.access import Connection, ServerAccess

_BOOKKEEPING = ("squizzle", "squizzle_undo", "squizzle_salvage")


@dataclass(frozen=True, kw_only=True, slots=True)
class Holders:
    """What held rows before the script, by what stays the same when it gets another name.

    Attributes:
        tables: Oids of tables.
        columns: (oid of the table, number of the column).
    """

    tables: frozenset[int] = field(default_factory=frozenset)
    columns: frozenset[tuple[int, int]] = field(default_factory=frozenset)


def read_holders(connection: Connection) -> Holders:
    """The tables and columns of a database. Nothing is changed."""
    rows = connection.execute(
        "SELECT c.oid::bigint, a.attnum FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
        " WHERE c.relkind IN ('r', 'p') AND c.oid >= 16384 AND a.attnum > 0 AND NOT a.attisdropped"
    ).fetchall()
    return Holders(tables=frozenset(oid for oid, _ in rows), columns=frozenset((oid, number) for oid, number in rows))


def compare(access: ServerAccess, *, after: str, before: str) -> tuple[str, ...]:
    """Statements that make the schema of one scratch database that of another. Nothing is changed.

    Args:
        access: The server of both.
        after: The database to be changed.
        before: What it shall become.

    Raises:
        NotComparableError: The library does not know a kind of object that is there.
    """
    import pgmig  # noqa: PLC0415 - it loads pydantic and asyncio, and most scripts never need it

    try:
        text = pgmig.generate(
            source=_conninfo(access, after),
            target=_conninfo(access, before),
            include_grants=True,
            include_owner=True,
            ignore_schemas=_BOOKKEEPING,
        )
    except (pgmig.PgmigError, psycopg.Error) as exc:
        raise NotComparableError(str(exc).strip().splitlines()[0]) from exc
    return tuple(one.sql for one in split_statements(text, source="the comparison"))


class NotComparableError(Exception):
    """The two schemas cannot be compared by the library; the message says why."""


def _conninfo(access: ServerAccess, database: str) -> str:
    given = {"host": access.host, "port": str(access.port or ""), "user": access.user, "dbname": database}
    if access.password is not None:
        given["password"] = access.password.reveal()
    return make_conninfo(**{name: value for name, value in given.items() if value}, **dict(access.parameters))


def dropped_holders(statements: Sequence[str], connection: Connection, before: Holders) -> tuple[str, ...]:
    """What these statements would drop although it held rows before the script, perhaps under another name.

    Args:
        statements: To be run.
        connection: A session in the database after the script.
        before: What held rows before it, in the same database.
    """
    return tuple(name for text in statements for name in _dropped(text, connection, before))


def _dropped(text: str, connection: Connection, before: Holders) -> Iterator[str]:
    tree = parse_statement(text)
    if tree is None:
        yield text[:60]
        return
    match tree.WhichOneof("node"):
        case "drop_stmt" if tree.drop_stmt.remove_type == pb.OBJECT_TABLE:
            for item in tree.drop_stmt.objects:
                name = dotted(one.string.sval for one in item.list.items)
                if _oid(connection, name) in before.tables:
                    yield name
        case "drop_stmt" if tree.drop_stmt.remove_type == pb.OBJECT_SCHEMA and tree.drop_stmt.behavior:
            yield from (
                item.string.sval for item in tree.drop_stmt.objects if tree.drop_stmt.behavior == pb.DROP_CASCADE
            )
        case "alter_table_stmt":
            name = range_name(tree.alter_table_stmt.relation)
            for command in tree.alter_table_stmt.cmds:
                if command.alter_table_cmd.subtype == pb.AT_DropColumn:
                    column = command.alter_table_cmd.name
                    if (_oid(connection, name), _number(connection, name, column)) in before.columns:
                        yield f"{name}.{column}"


def _oid(connection: Connection, name: str) -> int:
    row = connection.execute("SELECT to_regclass(%s)::oid::bigint", (name,)).fetchone()
    return int(row[0]) if row and row[0] is not None else 0


def _number(connection: Connection, name: str, column: str) -> int:
    query = "SELECT attnum FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attname = %s"
    row = connection.execute(query, (name, column)).fetchone()
    return int(row[0]) if row else 0
