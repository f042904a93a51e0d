"""Only what was asked for is undone: rows of others stay, and so does every row that could not go without them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from psycopg import sql

from squizzle.backups.change_log.changes import mark
from squizzle.backups.change_log.switching import disable, enable
from squizzle.errors import CouldNotVerifyError, InvalidInputError, RecoveryError, RefusedError
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.embedded import ServerAddress
from squizzle.postgres.identity import Target
from squizzle.recovery.undo.records import ConflictReason, UndoReport, UndoRequest
from squizzle.recovery.undo.undo import plan_undo, undo_changes
from tests.integration.conftest import access_to
from tests.support.scratch import new_database

SCHEMA = """
    CREATE TABLE people (id int PRIMARY KEY, name text UNIQUE);
    CREATE TABLE orders (id int PRIMARY KEY, who int REFERENCES people ON DELETE CASCADE, note text);
    CREATE TABLE notes (id int PRIMARY KEY, about int REFERENCES people ON DELETE CASCADE);
    INSERT INTO people VALUES (1, 'Ann'), (2, 'Bob'), (3, 'Cy');
    INSERT INTO orders VALUES (1, 1, 'first'), (2, 2, 'second')
"""
GROUP = (("public", "people"), ("public", "orders"))


@pytest.fixture(scope="module")
def access(servers: Callable[[str], ServerAddress]) -> ServerAccess:
    """One server: this is arithmetic of ours; the histories are for both."""
    return access_to(servers("embedded"))


@pytest.fixture
def db(access: ServerAccess, control: Connection) -> Iterator[Connection]:
    with (
        new_database(control, sql.SQL("TEMPLATE template0"), prefix="undo") as name,
        connect(access, name, purpose="test") as session,
    ):
        session.execute(SCHEMA.encode())
        enable(session, Target(database=name), GROUP, on_wait=print)
        yield session


def undone(db: Connection, request: UndoRequest) -> tuple[UndoReport, dict[str, ConflictReason]]:
    """Undo, and the conflicts as `table id`."""
    done = undo_changes(db, Target(database=db.info.dbname), request, on_wait=print)
    return done, {f"{one.table} {json.loads(one.key)['id']}": one.reason for one in done.conflicts}


def as_application(db: Connection, name: str, statements: str) -> None:
    with db.transaction():
        db.execute(sql.SQL("SET LOCAL application_name = {}").format(name))
        db.execute(statements.encode())


def contents(db: Connection, table: str) -> list[tuple[object, ...]]:
    return db.execute(sql.SQL("SELECT * FROM {} ORDER BY id").format(sql.Identifier(table))).fetchall()


def test_rows_that_others_changed_or_need_stay_and_say_why(db: Connection) -> None:
    since = mark(db)
    as_application(db, "bad", "INSERT INTO people VALUES (4, 'Dee'), (5, 'Eve'), (6, 'Fay'), (7, 'Gus')")
    as_application(db, "bad", "UPDATE people SET name = 'Bobby' WHERE id = 2; DELETE FROM people WHERE id = 3")
    as_application(db, "bad", "UPDATE orders SET note = 'bad'; INSERT INTO orders VALUES (3, 7, 'bad')")
    as_application(db, "bad", "INSERT INTO orders VALUES (4, 3 + 3, 'bad'); DELETE FROM orders WHERE id = 4")
    as_application(db, "good", "UPDATE orders SET note = 'good' WHERE id = 1")
    as_application(db, "good", "INSERT INTO orders VALUES (5, 4, 'good'); INSERT INTO notes VALUES (1, 5)")
    as_application(db, "good", "INSERT INTO people VALUES (8, 'Cy')")
    done, conflicts = undone(db, UndoRequest(tables=GROUP, since=since, applications=("bad",)))
    assert conflicts == {
        "public.orders 1": ConflictReason.CHANGED_LATER,
        "public.people 3": ConflictReason.VALUE_TAKEN,
        "public.people 4": ConflictReason.STILL_REFERENCED,
        "public.people 5": ConflictReason.STILL_REFERENCED,
    }
    assert "(good)" in next(one.detail for one in done.conflicts if one.table == "public.orders")
    assert contents(db, "people") == [(1, "Ann"), (2, "Bob"), (4, "Dee"), (5, "Eve"), (8, "Cy")]
    assert contents(db, "orders") == [(1, 1, "good"), (2, 2, "second"), (5, 4, "good")]
    assert contents(db, "notes") == [(1, 5)]
    # One of people of which only a part is named: its orders cannot come back before it does.
    since = mark(db)
    db.execute("DELETE FROM people WHERE id = 2")
    done, conflicts = undone(db, UndoRequest(tables=GROUP[1:], since=since))
    assert (conflicts, done.beyond) == ({"public.orders 2": ConflictReason.PARENT_MISSING}, ("public.people",))
    done, conflicts = undone(db, UndoRequest(tables=GROUP, since=since))
    assert (conflicts, done.beyond, contents(db, "orders")[1]) == ({}, (), (2, 2, "second"))


def test_what_the_log_does_not_explain_stays_and_a_stale_plan_is_refused(db: Connection) -> None:
    target = Target(database=db.info.dbname)
    since = mark(db)
    db.execute("UPDATE people SET name = name || '!'")
    request = UndoRequest(tables=GROUP, since=since)
    planned = plan_undo(db, target, request, limit=1)
    assert (planned.changes, len(planned.tables[1].rows)) == (3, 1)
    assert planned.tables[1].rows[0].then == '{"id":1,"name":"Ann"}'
    db.execute("DELETE FROM people WHERE id = 3")
    with pytest.raises(RefusedError, match="is not what was looked at"):
        undo_changes(db, target, request, on_wait=print, digest=planned.digest)
    with db.transaction():
        db.execute("ALTER TABLE people DISABLE TRIGGER ALL; UPDATE people SET name = 'unseen' WHERE id = 1")
        db.execute("ALTER TABLE people ENABLE TRIGGER ALL")
    with pytest.raises(CouldNotVerifyError, match="changes in between are missing"):
        plan_undo(db, target, request)
    enable(db, target, GROUP, on_wait=print)
    _, conflicts = undone(db, request)
    assert conflicts == {"public.people 1": ConflictReason.NOT_EXPLAINED}
    assert contents(db, "people") == [(1, "unseen"), (2, "Bob"), (3, "Cy")]


def test_an_undo_that_turns_out_otherwise_is_taken_back_with_all_it_switched(db: Connection) -> None:
    target = Target(database=db.info.dbname)
    since = mark(db)
    db.execute("UPDATE orders SET note = 'bad'")
    # A constraint's trigger stays on, for it should only check; this one writes.
    db.execute(
        "CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN"
        " UPDATE people SET name = 'meddled' WHERE id = 3; RETURN NULL; END$$;"
        " CREATE CONSTRAINT TRIGGER meddle AFTER UPDATE ON orders DEFERRABLE FOR EACH ROW EXECUTE FUNCTION meddle();"
        " CREATE TRIGGER twice BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()"
    )
    state = "SELECT tgname, tgenabled, tgdeferrable FROM pg_trigger WHERE tgrelid = 'orders'::regclass ORDER BY 1"
    before = db.execute(state).fetchall(), contents(db, "orders"), contents(db, "people")
    with pytest.raises(RecoveryError, match=r"taken back: rows of public\.people would have been changed along"):
        undo_changes(db, target, UndoRequest(tables=GROUP[1:], since=since), on_wait=print)
    with pytest.raises(RecoveryError, match=r"taken back: 1 more rows of public\.people"):
        undo_changes(db, target, UndoRequest(tables=GROUP, since=since), on_wait=print)
    assert before == (db.execute(state).fetchall(), contents(db, "orders"), contents(db, "people"))
    db.execute("DROP TRIGGER meddle ON orders")
    done, _ = undone(db, UndoRequest(tables=GROUP, since=since))
    assert (done.changes, done.tables[0].quiet_triggers) == (2, ("twice",))
    state += " LIMIT 100"
    assert ("twice", "O", False) in db.execute(state).fetchall()
    deferrable = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND condeferrable"
    assert db.execute(deferrable).fetchone() == (0,)


def test_a_table_that_cannot_be_undone_is_refused_by_name(db: Connection) -> None:
    target = Target(database=db.info.dbname)
    since = mark(db)

    def refused(error: type[Exception], words: str, *tables: str) -> None:
        request = UndoRequest(tables=tuple(("public", one) for one in tables), since=since)
        with pytest.raises(error, match=words):
            undo_changes(db, target, request, on_wait=print)

    refused(InvalidInputError, r"public\.notes is not logged", "people", "notes")
    refused(InvalidInputError, r"no table public\.nobody", "nobody")
    db.execute("ALTER TABLE orders ADD more int")
    refused(CouldNotVerifyError, r"public\.orders is not whole: its columns differ .* now also more integer", "orders")
    disable(db, target, GROUP[1:], on_wait=print)
    enable(db, target, GROUP[1:], on_wait=print)
    refused(CouldNotVerifyError, r"public\.orders was not logged at", "orders")
    db.execute("CREATE RULE quiet AS ON DELETE TO people DO INSTEAD NOTHING")
    refused(RefusedError, r"public\.people has rules", "people")
