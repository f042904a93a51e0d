"""What a killed or failed statement outside a transaction leaves, and whether it had finished after all.

CREATE INDEX CONCURRENTLY and REINDEX CONCURRENTLY that do not reach their end leave an invalid index, which every
write keeps up and no query uses (manual, "Building Indexes Concurrently", "Rebuilding Indexes Concurrently"). The next
try of the first would stumble over the name, or, where the server chooses the name, make another one beside it.
"""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from squizzle.analysis.grammar import Tree, parse_statement
from squizzle.analysis.records import Statement
from squizzle.migrations.concurrent_indexes import (
    FoundIndex,
    finished_index,
    invalid_copies,
    invalid_indexes,
    qualified_name,
)
from squizzle.postgres.access import Connection


def clear_leftovers(connection: Connection, statement: Statement, *, interrupted: bool) -> Iterator[str]:
    """Drop the invalid indexes that an earlier try of this very statement left; gives the name of each.

    An invalid index with another name or definition, on another table, or one that somebody builds right now, is
    somebody else's and stays. A partition whose detaching was begun is detached to the end.

    Args:
        connection: A session outside a transaction.
        statement: What is about to run.
        interrupted: Whether a run of it died: only then are the copies that REINDEX works on taken for its own.

    Raises:
        psycopg.Error: One cannot be dropped; it is still there, invalid.
    """
    for index in _leftovers(connection, statement, interrupted=interrupted):
        command = sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}")
        connection.execute(command.format(sql.Identifier(index.schema, index.name)))
        yield index.name


def is_already_done(connection: Connection, statement: Statement) -> bool:
    """Whether a statement that a killed run may have finished has been finished, though nobody noted it.

    Only looks, but for one thing: a partition whose detaching was begun cannot be detached anew, so that is ended.

    Raises:
        psycopg.Error: The detaching cannot be ended; the partition is still being detached.
    """
    tree = _tree(statement)
    if tree is None:
        return False
    match tree.WhichOneof("node"):
        case "index_stmt":
            done = finished_index(connection, tree.index_stmt)
        case "drop_stmt":
            done = _is_gone(connection, tree.drop_stmt)
        case "alter_table_stmt":
            done = _is_detached(connection, tree.alter_table_stmt)
        case "createdb_stmt":
            done = _has_database(connection, tree.createdb_stmt.dbname)
        case "dropdb_stmt":
            done = not _has_database(connection, tree.dropdb_stmt.dbname)
        case _:
            done = False
    return done


def _tree(statement: Statement) -> Tree | None:
    """None for what only runs outside a transaction because its author wants it so, and for unknown syntax."""
    return None if statement.transactional else parse_statement(statement.sql)


def _leftovers(connection: Connection, statement: Statement, *, interrupted: bool) -> tuple[FoundIndex, ...]:
    tree = _tree(statement)
    if tree is None:
        return ()
    if tree.HasField("index_stmt"):
        return invalid_indexes(connection, tree.index_stmt)
    if tree.HasField("reindex_stmt") and interrupted and "CONCURRENTLY" in statement.words:
        return invalid_copies(connection, tree.reindex_stmt)
    return ()


def _is_gone(connection: Connection, tree: Tree) -> bool:
    names = [part.string.sval for part in tree.objects[0].list.items]
    qualified = ".".join(sql.Identifier(name).as_string(None) for name in names)
    return connection.execute("SELECT to_regclass(%s) IS NULL", (qualified,)).fetchone() == (True,)


def _has_database(connection: Connection, name: str) -> bool:
    query = "SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = %s)"
    return connection.execute(query, (name,)).fetchone() == (True,)


def _is_detached(connection: Connection, tree: Tree) -> bool:
    command = tree.cmds[0].alter_table_cmd
    if not command.HasField("def") or not getattr(command, "def").HasField("partition_cmd"):
        return False
    parent, partition = (qualified_name(one) for one in (tree.relation, getattr(command, "def").partition_cmd.name))
    query = "SELECT inhdetachpending FROM pg_inherits WHERE inhrelid = to_regclass(%s) AND inhparent = to_regclass(%s)"
    row = connection.execute(query, (partition.as_string(None), parent.as_string(None))).fetchone()
    if row == (True,):
        connection.execute(sql.SQL("ALTER TABLE {} DETACH PARTITION {} FINALIZE").format(parent, partition))
    return row != (False,)
