"""What a change of type costs is measured: a table that gets a new file was written anew."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from psycopg import sql

from squizzle.analysis.actions import AlterColumnType
from squizzle.analysis.columns import TypeName
from squizzle.analysis.statements import split_statements
from squizzle.analysis.summary import summarize
from squizzle.analysis.type_changes import TypeChange, cost_of, loses
from squizzle.postgres.access import Connection, ServerAccess, connect

# Before, after, and a value that shows whether anything is lost.
CHANGES = [
    ("varchar(50)", "varchar(100)", "'abc'"),
    ("varchar(50)", "varchar", "'abc'"),
    ("varchar(50)", "text", "'abc'"),
    ("text", "varchar", "'abc'"),
    ("varchar(100)", "varchar(50)", "'abc'"),
    ("text", "varchar(50)", "'abc'"),
    ("char(5)", "char(9)", "'abc'"),
    ("char(5)", "text", "'abc'"),
    ("numeric(10,2)", "numeric(12,2)", "1.25"),
    ("numeric(10,2)", "numeric", "1.25"),
    ("numeric(10,2)", "numeric(12,1)", "1.25"),
    ("numeric(10,2)", "numeric(12,4)", "1.25"),
    ("numeric(10)", "numeric(12)", "1"),
    ("numeric", "numeric(12,1)", "1.25"),
    ("numeric(10,2)", "integer", "1.25"),
    ("integer", "bigint", "1"),
    ("bigint", "integer", "1"),
    ("integer", "numeric", "1"),
    ("double precision", "real", "1.23456789"),
    ("double precision", "integer", "1.5"),
    ("real", "double precision", "1.5"),
    ("timestamptz(3)", "timestamptz", "'2026-01-01 00:00:00.123456+00'"),
    ("timestamptz(3)", "timestamptz(5)", "'2026-01-01 00:00:00.123456+00'"),
    ("timestamptz", "timestamptz(0)", "'2026-01-01 00:00:00.123456+00'"),
    ("timestamp", "date", "'2026-01-01 12:00'"),
    ("time", "time(0)", "'12:00:00.5'"),
    ("varbit(5)", "varbit(9)", "B'101'"),
    ("cidr", "inet", "'10.0.0.0/8'"),
    ("inet", "cidr", "'10.0.0.0/8'"),
    ("json", "jsonb", "'{}'"),
    ("integer[]", "bigint[]", "'{1}'"),
    ("text", "text", "'abc'"),
]


@pytest.fixture(scope="module")
def worker(access: ServerAccess) -> Iterator[Connection]:
    with connect(access, "postgres", purpose="test") as control:
        control.execute("CREATE DATABASE type_changes TEMPLATE template0")
        with connect(access, "type_changes", purpose="test") as opened:
            yield opened
        control.execute("DROP DATABASE type_changes")


def change(before: str, after: str) -> tuple[TypeName, TypeName]:
    made, altered = (
        summarize(split_statements(text, source="case")[0])
        for text in (f"ALTER TABLE t ALTER x TYPE {before}", f"ALTER TABLE t ALTER x TYPE {after}")
    )
    (old,), (new,) = made.actions, altered.actions
    assert isinstance(old, AlterColumnType)
    assert isinstance(new, AlterColumnType)
    return old.type, new.type


def file_of(worker: Connection) -> int:
    row = worker.execute("SELECT pg_relation_filenode('t')").fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize(("before", "after", "value"), CHANGES, ids=[f"{old} to {new}" for old, new, _ in CHANGES])
def test_a_change_of_type_costs_and_loses_what_is_foretold(
    worker: Connection, before: str, after: str, value: str
) -> None:
    old, new = change(before, after)
    with worker.transaction(force_rollback=True):
        worker.execute(f"CREATE TABLE t (x {before}, kept text)".encode())
        worker.execute(b"INSERT INTO t (x) VALUES (" + value.encode() + b")")
        worker.execute("UPDATE t SET kept = x::text")
        first = file_of(worker)
        worker.execute(f"ALTER TABLE t ALTER x TYPE {after} USING x::{after}".encode())
        is_rewritten = file_of(worker) != first
        worker.execute(f"ALTER TABLE t ALTER x TYPE {before} USING x::{before}".encode())
        row = worker.execute("SELECT x::text = kept FROM t").fetchone()
    assert row is not None
    assert (cost_of(old, new) is TypeChange.REWRITES) is is_rewritten
    assert loses(old, new, has_using=True) is not row[0] or new.name in {"varchar", "bpchar"}


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_between_times_with_and_without_zone_the_session_decides(worker: Connection, zone: str) -> None:
    old, new = change("timestamp", "timestamptz")
    assert cost_of(old, new) is TypeChange.TIME_ZONE
    with worker.transaction(force_rollback=True):
        worker.execute(sql.SQL("SET LOCAL TimeZone = {}").format(sql.Literal(zone)))
        worker.execute("CREATE TABLE t (x timestamp)")
        first = file_of(worker)
        worker.execute("ALTER TABLE t ALTER x TYPE timestamptz")
        assert (file_of(worker) != first) is (zone != "UTC")
