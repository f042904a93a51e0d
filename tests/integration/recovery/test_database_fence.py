"""A fence of a database is noted: who wants it, since when, and what was there before."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from psycopg import sql

from squizzle.errors import DatabaseError, FencingFailedError, LockTimeoutError, RefusedError
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.database_properties import read_properties
from squizzle.recovery.fence import control_session, fence, is_fenced
from squizzle.recovery.fences import book as book_module
from squizzle.recovery.fences.book import FenceBook
from squizzle.recovery.fences.database import DatabaseFence
from squizzle.recovery.fences.order import make_fences, put_up_all, take_down_all
from squizzle.recovery.fences.records import FenceState
from squizzle.recovery.switch_over import switch_over
from squizzle.settings.fences import CommandSettings
from tests.support.holds import hold
from tests.support.scratch import new_role

pytestmark = pytest.mark.parametrize("address", ["embedded"], indirect=True)


@pytest.fixture
def shut(control: Connection, database: str) -> DatabaseFence:
    return DatabaseFence(control, database)


def test_the_last_hold_opens_what_was_open(
    access: ServerAccess, control: Connection, database: str, shut: DatabaseFence
) -> None:
    client = connect(access, database, purpose="client")
    up = shut.put_up(hold("first"))
    client.close()
    assert (up.state, up.detail) == (FenceState.FENCED, "1 sessions ended")
    shut.put_up(hold("second"))
    shut.put_up(hold("first", "again"))
    with control_session(access, purpose="another process") as other:
        assert DatabaseFence(other, database).look().holds == (hold("first"), hold("second"))
        assert DatabaseFence(other, database).take_down("nobody").state is FenceState.FENCED
    assert shut.take_down("first").holds == (hold("second"),)
    assert is_fenced(control, database)
    assert shut.take_down("second").state is FenceState.OPEN
    assert shut.take_down("second").state is FenceState.OPEN
    assert not is_fenced(control, database)
    assert FenceBook(control).read(shut.name) is None


def test_what_was_shut_before_stays_shut_unless_everything_is_told_to_open(
    control: Connection, database: str, shut: DatabaseFence
) -> None:
    fence(control, database)
    assert shut.take_down("recovery").detail == "whoever shut it has left no note"
    shut.put_up(hold())
    assert shut.take_down("recovery").detail == "it was shut before Squizzle fenced it, and stays so"
    assert is_fenced(control, database)
    assert shut.take_down(None).state is FenceState.OPEN


def test_a_hold_goes_with_the_name_over_a_switch(control: Connection, database: str, shut: DatabaseFence) -> None:
    other, kept = f"{database}__r", f"{database}__old"
    control.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0 STRATEGY file_copy").format(sql.Identifier(other)))
    shut.put_up(hold())
    properties = read_properties(control, database)
    switch_over(control, database=database, restored=other, keep_as=kept, properties=properties)
    assert shut.look().holds == (hold(),)
    assert shut.take_down("recovery").state is FenceState.OPEN
    assert is_fenced(control, kept)


def test_who_may_not_note_it_changes_nothing(
    access: ServerAccess, control: Connection, database: str, shut: DatabaseFence
) -> None:
    shut.put_up(hold("other"))
    shut.take_down("other")
    with new_role(control, sql.SQL("LOGIN CREATEDB")) as role:
        owner = "ALTER DATABASE {} OWNER TO {}"
        control.execute(sql.SQL(owner).format(sql.Identifier(database), sql.Identifier(role)))
        with (
            control_session(replace(access, user=role), purpose="test") as session,
            pytest.raises(DatabaseError, match="permission denied") as caught,
        ):
            DatabaseFence(session, database).put_up(hold())
        control.execute(sql.SQL("ALTER DATABASE {} OWNER TO CURRENT_USER").format(sql.Identifier(database)))
    assert "squizzle.fence" in caught.value.hint
    assert not is_fenced(control, database)


def test_the_maintenance_database_is_not_fenced_from_itself(control: Connection) -> None:
    with pytest.raises(RefusedError, match="cannot be fenced itself"):
        DatabaseFence(control, "postgres").put_up(hold())


def test_two_at_once_wait_for_each_other_and_not_for_ever(
    access: ServerAccess, shut: DatabaseFence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(book_module, "_PATIENCE_MS", 20)
    with (
        control_session(access, purpose="other") as other,
        FenceBook(other).alone_with(shut.name),
        pytest.raises(LockTimeoutError, match="somebody else is fencing"),
    ):
        shut.put_up(hold())
    assert shut.look().holds == ()


def test_the_first_notes_of_several_at_once_do_not_collide(access: ServerAccess, control: Connection) -> None:
    control.execute("DROP TABLE IF EXISTS squizzle.fence")
    start = threading.Barrier(4)
    errors: list[str] = []

    def note(number: int) -> None:
        with control_session(access, purpose="test") as session:
            book = FenceBook(session)
            start.wait()
            try:
                book.write(f"thing {number}", book_module.Page(found="open"))
                book.remove(f"thing {number}")
            except DatabaseError as exc:
                errors.append(exc.message)

    threads = [threading.Thread(target=note, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_fence_that_fails_stops_no_other_in_either_direction(control: Connection, database: str) -> None:
    broken = CommandSettings(name=f"broken {database}", close=("false",), open=("false",))
    good = CommandSettings(name=f"good {database}", close=("true",), open=("true",))
    fences = make_fences(control, database, [broken, good, replace(broken, name=f"third {database}")])

    with pytest.raises(FencingFailedError) as caught:
        put_up_all(fences, hold())

    assert caught.value.message.startswith("2 of 4 fences could not be put up: command broken")
    assert f"command third {database} is not known to be shut" in caught.value.message
    assert f"The others: command good {database} is fenced; database {database} is fenced" in caught.value.message
    assert is_fenced(control, database)
    with pytest.raises(FencingFailedError, match="2 of 4 fences could not be taken down") as caught:
        take_down_all(fences, "recovery")
    assert f"The others: database {database} is open; command good {database} is open" in caught.value.message
    assert not is_fenced(control, database)
