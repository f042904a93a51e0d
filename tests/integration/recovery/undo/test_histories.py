"""Whatever happened since a mark: undone, the rows are those of the mark; the undo undone, they are those before it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import errors, sql

from squizzle.backups.change_log.changes import mark
from squizzle.backups.change_log.switching import enable
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.identity import Target
from squizzle.recovery.undo.records import UndoRequest
from squizzle.recovery.undo.undo import plan_undo, undo_changes
from tests.support.scratch import new_database

TABLES = ("shelves", "goods", "parts")
GROUP = tuple(("public", name) for name in TABLES)
# A circle of keys, one that takes rows along, one that cuts ties, a unique name, a partitioned table, a generated column.
SCHEMA = """
    CREATE TABLE shelves (id int PRIMARY KEY, name text UNIQUE, above int REFERENCES shelves ON DELETE CASCADE);
    CREATE TABLE goods (
        id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, shelf int NOT NULL REFERENCES shelves ON DELETE CASCADE,
        tags int[], twice int GENERATED ALWAYS AS (shelf * 2) STORED, touched timestamptz
    );
    CREATE TABLE parts (half int, id int, good int REFERENCES goods ON DELETE SET NULL, j jsonb, PRIMARY KEY (half, id))
        PARTITION BY LIST (half);
    CREATE TABLE parts_0 PARTITION OF parts FOR VALUES IN (0);
    CREATE TABLE parts_1 (j jsonb, good int, id int NOT NULL, half int NOT NULL);
    ALTER TABLE parts ATTACH PARTITION parts_1 FOR VALUES IN (1);
    CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
        $$BEGIN NEW.touched = clock_timestamp(); RETURN NEW; END$$;
    CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON goods FOR EACH ROW EXECUTE FUNCTION touch();
"""
FILL = """
    TRUNCATE shelves, goods, parts RESTART IDENTITY;
    INSERT INTO shelves SELECT n, 'shelf ' || n, nullif(n / 2, 0) FROM generate_series(1, 5) n;
    INSERT INTO goods (shelf, tags) SELECT 1 + n % 5, ARRAY[n] FROM generate_series(1, 6) n;
    INSERT INTO parts SELECT n % 2, n, 1 + n % 6, to_jsonb(n) FROM generate_series(1, 6) n
"""
# {0} and {1} are small numbers, so that statements meet the rows of others.
STATEMENTS = (
    "INSERT INTO shelves VALUES ({0} + 5, 'shelf ' || {1}, {1})",
    # Each its own name: rows that stay and exchanged unique values are refused (docs/undo.md).
    "UPDATE shelves SET name = 'was ' || {1} || ' at ' || {0} WHERE id = {0}",
    "UPDATE shelves SET above = {1} WHERE id = {0}",
    "UPDATE shelves SET id = id + 10 WHERE id = {0}",
    "DELETE FROM shelves WHERE id = {0}",
    "INSERT INTO goods (shelf, tags) VALUES ({0}, '[0:1]={{1,2}}')",
    "UPDATE goods SET shelf = {1} WHERE id % 7 = {0}",
    "DELETE FROM goods WHERE id % 7 = {0}",
    "INSERT INTO parts VALUES ({0} % 2, {1} + 10, {0}, 'null')",
    "UPDATE parts SET half = 1 - half, id = id + 1 WHERE id = {0}",
    "UPDATE parts SET j = NULL WHERE good = {0}",
    "DELETE FROM parts WHERE half = {0} % 2",
    "TRUNCATE parts_1",
    "TRUNCATE goods RESTART IDENTITY CASCADE",
    "DELETE FROM goods WHERE id = {0}; UPDATE parts SET good = NULL WHERE id = {1}; DELETE FROM shelves WHERE id = {1}",
)


@pytest.fixture(scope="module")
def db(access: ServerAccess) -> Iterator[Connection]:
    with (
        connect(access, "postgres", purpose="test") as control,
        new_database(control, sql.SQL("TEMPLATE template0"), prefix="undo") as name,
        connect(access, name, purpose="test") as session,
    ):
        session.execute(SCHEMA.encode())
        enable(session, Target(database=name), GROUP, on_wait=print)
        yield session


def rows(db: Connection) -> list[list[tuple[object, ...]]]:
    return [
        db.execute(sql.SQL("SELECT t::text FROM {} t ORDER BY 1").format(sql.Identifier(name))).fetchall()
        for name in TABLES
    ]


STEP = st.tuples(st.sampled_from(STATEMENTS), st.integers(0, 6), st.integers(0, 6))
TRANSACTION = st.lists(STEP, min_size=2, max_size=5)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=TRANSACTION, since=st.lists(TRANSACTION, min_size=2, max_size=4))
def test_undone_the_rows_are_those_of_the_mark_and_undone_again_those_before(
    db: Connection, before: list[tuple[str, int, int]], since: list[list[tuple[str, int, int]]]
) -> None:
    target = Target(database=db.info.dbname)
    db.execute(FILL.encode())
    play(db, [before])
    marked, then = mark(db), rows(db)
    play(db, since)
    now = rows(db)
    plan = plan_undo(db, target, UndoRequest(tables=GROUP, since=marked))
    assert (rows(db), plan.conflicts) == (now, ())
    done = undo_changes(db, target, UndoRequest(tables=GROUP, since=marked), on_wait=print, digest=plan.digest)
    assert rows(db) == then
    assert done.changes == plan.changes
    if done.xid is None:
        assert now == then
        return
    again = UndoRequest(tables=GROUP, since=marked, transactions=(done.xid,))
    undo_changes(db, target, again, on_wait=print)
    assert rows(db) == now


def play(db: Connection, history: list[list[tuple[str, int, int]]]) -> None:
    """Each inner list is one transaction; a statement that its constraints refuse is left out."""
    for transaction in history:
        with db.transaction():
            for statement, first, second in transaction:
                try:
                    with db.transaction():
                        db.execute(statement.format(first, second).encode())
                except errors.IntegrityError:
                    continue
