"""Reads which objects of a database hang together; nothing is changed, and nothing of ours is locked for long."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg

from squizzle.analysis.locks.kin import Kin, ObjectId, OtherObject, Relation
from squizzle.analysis.locks.lock_map import lock_map
from squizzle.analysis.locks.records import RelationName
from squizzle.analysis.locks.side import Surroundings
from squizzle.postgres.access import Connection
from squizzle.postgres.sql_files import load_sql
from squizzle.postgres.translation import translate_error

# 100,000 dependencies are read in a second; what takes longer is a server that has other worries.
_LIMIT = timedelta(seconds=20)
_PARENTS = "SELECT inhrelid::bigint, inhparent::bigint FROM pg_inherits ORDER BY inhparent, inhrelid"


def read_surroundings(connection: Connection, schema: str) -> Surroundings:
    """What hangs together in a database, and the lock map of its server's version.

    Args:
        connection: A session outside a transaction.
        schema: Where names without a schema are looked for first, as migrations do.

    Raises:
        DatabaseError: It took too long, or the session was lost. The database is untouched.
    """
    major = connection.info.server_version // 10000
    return Surroundings(kin=read_kin(connection, schema=schema), measured=lock_map(major))


def read_kin(connection: Connection, *, schema: str = "", limit: timedelta = _LIMIT) -> Kin:
    """Relations, constraints, triggers, policies and what depends on what, all of one moment.

    It reads pg_class, pg_depend, pg_inherits and their like as a query does: ACCESS SHARE on system catalogues.

    Args:
        connection: A session outside a transaction.
        schema: Where names without a schema are looked for before the search path.
        limit: How long each question may take.

    Raises:
        DatabaseError: It took too long, or the session was lost. The database is untouched.
    """
    try:
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            milliseconds = str(round(limit.total_seconds() * 1000))
            connection.execute("SELECT set_config('statement_timeout', %s, true)", (milliseconds,))
            path = connection.execute("SELECT current_schemas(false)::text[]").fetchall()[0][0]
            relations = _rows(connection, "relations")
            objects = _rows(connection, "objects")
            links = _rows(connection, "links")
            parents = connection.execute(_PARENTS).fetchall()
    except psycopg.Error as exc:
        raise translate_error(exc, doing="read what depends on what") from exc
    return Kin(
        relations=[_relation(row) for row in relations],
        objects=[_object(*row) for row in objects],
        links=[(ObjectId(*row[:3]), ObjectId(*row[3:6]), row[6]) for row in links],
        parents=parents,
        path=[schema, *path] if schema else path,
    )


def _rows(connection: Connection, name: str) -> list[tuple[Any, ...]]:
    return connection.execute(load_sql("squizzle.postgres.kinship", name)).fetchall()


def _relation(row: tuple[Any, ...]) -> Relation:
    oid, schema, name, kind, is_partition, index_of, default_partition, columns, numbers = row
    return Relation(
        oid=oid,
        name=RelationName(schema=schema, name=name),
        kind=kind,
        is_partition=is_partition,
        index_of=index_of,
        default_partition=default_partition or None,
        columns=dict(zip(columns, numbers, strict=True)),
    )


def _object(catalogue: str, oid: int, schema: str, name: str, table: int, other: int, kind: str) -> OtherObject:
    return OtherObject(
        id=ObjectId(catalogue, oid),
        name=RelationName(schema=schema, name=name),
        table=table,
        other=other,
        kind=kind,
    )
