"""A copy beside the database, made under load, swapped in, and told from anything else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from psycopg import sql

from squizzle.errors import CouldNotVerifyError, InvalidInputError, LockTimeoutError, RecoveryError
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.database_properties import read_properties
from squizzle.recovery.fence import is_fenced, session_through_fence, unfence
from squizzle.recovery.prepared_copy import (
    copy_name,
    drop_copy,
    forget_fingerprint,
    list_copies,
    make_copy,
    verify_copy_unchanged,
)
from squizzle.recovery.single_flight import lock_copying
from squizzle.recovery.switch_over import switch_over
from tests.support.hammer import hammering
from tests.support.names import clients_in, databases
from tests.support.processes import wait_until

NOW = datetime(2027, 1, 31, 2, tzinfo=UTC)


@pytest.fixture
def shop(access: ServerAccess, database: str) -> str:
    with connect(access, database, purpose="test") as connection:
        connection.execute("CREATE TABLE t (id serial PRIMARY KEY, word text)")
        connection.execute("INSERT INTO t (word) SELECT 'w' || n FROM generate_series(1, 1000) AS n")
    return database


def test_a_copy_made_under_load_is_swapped_in_whole(access: ServerAccess, control: Connection, shop: str) -> None:
    with hammering(access, shop, clients=4, work="SELECT count(*) FROM t"):
        wait_until(lambda: len(clients_in(control, shop)) == 4, "clients are in")
        made = make_copy(access, shop, now=NOW)
        assert not is_fenced(control, shop)
        wait_until(lambda: len(clients_in(control, shop)) == 4, "clients are in again")
    assert made.copy.name == f"{shop}__copy_20270131t020000"
    assert made.clients_ended >= 1
    assert made.rows == 1000
    assert is_fenced(control, made.copy.name)
    assert list_copies(control, shop) == (made.copy,)
    assert list_copies(control, "another") == ()
    with connect(access, shop, purpose="test") as connection:
        connection.execute("DELETE FROM t")

    with session_through_fence(access, made.copy.name, purpose="test") as connection:
        assert verify_copy_unchanged(connection) == ()
    properties = read_properties(control, shop)
    switch_over(control, database=shop, restored=made.copy.name, keep_as=f"{shop}__old", properties=properties)
    unfence(control, shop)

    with connect(access, shop, purpose="test") as connection:
        assert verify_copy_unchanged(connection) == ()
        forget_fingerprint(connection)
        assert connection.execute("SELECT count(*), max(word) FROM t").fetchone() == (1000, "w999")
        with pytest.raises(CouldNotVerifyError):
            verify_copy_unchanged(connection)
    # With the name it lost the mark of a copy.
    assert list_copies(control, shop) == ()
    assert read_properties(control, shop) == properties


def test_a_copy_that_somebody_changed_is_told(access: ServerAccess, shop: str) -> None:
    name = make_copy(access, shop, now=NOW).copy.name
    for change, found in (
        ("UPDATE t SET word = 'x' WHERE id = 7", "the rows of public.t are not those that were copied"),
        ("SELECT nextval('t_id_seq')", "sequence public.t_id_seq is not where it was"),
        ("CREATE TABLE more ()", "the schema is not as it was when it was copied"),
    ):
        with session_through_fence(access, name, purpose="test") as connection:
            connection.execute(change.encode())
            assert found in verify_copy_unchanged(connection)


def test_what_a_killed_run_left_is_dropped_and_nothing_else_is(
    access: ServerAccess, control: Connection, shop: str
) -> None:
    left, foreign = copy_name(shop, NOW - timedelta(days=1)), f"{shop}__copy_of_mine"
    for name in (left, foreign):
        control.execute(sql.SQL("CREATE DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))
    first = make_copy(access, shop, now=NOW).copy
    second = make_copy(access, shop, now=NOW + timedelta(hours=1)).copy
    assert databases(control, shop) == {shop, foreign, first.name, second.name}
    assert list_copies(control, shop) == (second, first)
    with pytest.raises(InvalidInputError, match="is no prepared copy"):
        drop_copy(control, shop, foreign)
    drop_copy(control, shop, first.name)
    assert list_copies(control, shop) == (second,)


def test_a_prepared_transaction_is_named_before_anybody_is_thrown_out(
    access: ServerAccess, control: Connection, shop: str
) -> None:
    with connect(access, shop, purpose="test") as connection:
        connection.execute("BEGIN; INSERT INTO t (word) VALUES ('prepared'); PREPARE TRANSACTION 'gid one'")
        with pytest.raises(RecoveryError, match="gid one"):
            make_copy(access, shop, now=NOW)
        connection.execute("ROLLBACK PREPARED 'gid one'")
    assert databases(control, shop) == {shop}


def test_two_copies_at_once_exclude_each_other(access: ServerAccess, control: Connection, shop: str) -> None:
    lock_copying(control, shop)
    with pytest.raises(LockTimeoutError, match="is being copied already"):
        make_copy(access, shop, now=NOW)
    assert databases(control, shop) == {shop}


def test_long_names_are_cut_where_the_server_would() -> None:
    name = copy_name("ß" * 40, NOW)
    assert len(name.encode()) <= 63
    assert name.endswith("__copy_20270131t020000")
