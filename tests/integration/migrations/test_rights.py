"""Somebody who lacks a right, or may not see what others do: each message names the object and the right."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from psycopg import sql

from squizzle.errors import DatabaseError, DatabaseState, LockTimeoutError
from squizzle.migrations.listener import Listener
from squizzle.migrations.operations import apply_versions, roll_back_versions, verify_versions
from squizzle.migrations.records import Policy, Timeouts
from squizzle.migrations.session import exclusive
from squizzle.migrations.status import read_status
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.identity import Target
from tests.integration.migrations.conftest import Folder


@pytest.fixture
def weak(access: ServerAccess, role: str, database: str) -> Iterator[Connection]:
    """A session of somebody with no rights but everybody's."""
    with connect(replace(access, user=role), database, purpose="weak") as opened:
        yield opened


def give(connection: Connection, role: str, *rights: str) -> None:
    for right in rights:
        connection.execute(sql.SQL("GRANT {} TO {}").format(sql.SQL(right), sql.Identifier(role)))  # type: ignore[arg-type]


def test_every_right_that_is_missing_is_named_until_none_is(
    weak: Connection, connection: Connection, role: str, database: str, target: Target, folder: Folder
) -> None:
    connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    folder.write("1", "CREATE TABLE t (a int)", down="DROP TABLE t")
    steps = [
        (f"CREATE ON DATABASE {database}", f"CREATE on the database {database}"),
        ("CREATE ON SCHEMA public", "CREATE on the schema public"),
    ]

    for right, named in steps:
        with pytest.raises(DatabaseError, match="permission denied for ") as caught:
            apply_versions(weak, target, folder.read())
        assert caught.value.sqlstate == "42501"
        assert named in caught.value.hint
        assert caught.value.database_state is DatabaseState.UNTOUCHED
        give(connection, role, right)
    apply_versions(weak, target, folder.read())
    assert all(check.ok for check in verify_versions(weak, target, folder.read()))


def test_somebody_who_may_not_read_the_history_is_told_which_rights_that_takes(
    weak: Connection, connection: Connection, role: str, target: Target, folder: Folder
) -> None:
    folder.write("1", "CREATE TABLE t (a int)")
    apply_versions(connection, target, folder.read())

    steps = [
        ("USAGE ON SCHEMA squizzle", "USAGE on the schema squizzle"),
        ("SELECT ON squizzle.identity", "SELECT on squizzle.identity"),
        ("SELECT ON squizzle_history", "SELECT on public.squizzle_history"),
    ]
    for right, named in steps:
        with pytest.raises(DatabaseError, match="permission denied for ") as caught:
            read_status(weak, target, folder.read())
        assert named in caught.value.hint
        give(connection, role, right)
    assert read_status(weak, target, folder.read()).current == "1"


def test_who_holds_the_lock_is_told_to_somebody_who_may_not_see_more(
    weak: Connection, connection: Connection, role: str, target: Target, folder: Folder
) -> None:
    folder.write("1", "SELECT 1")
    apply_versions(connection, target, folder.read())
    give(connection, role, "USAGE ON SCHEMA squizzle", "SELECT ON squizzle.identity", "SELECT ON squizzle_history")

    with exclusive(connection, target):
        runner = read_status(weak, target, folder.read()).runner
        with pytest.raises(LockTimeoutError) as caught:
            roll_back_versions(weak, target, folder.read(), only="1")

    assert runner is not None
    for text in (runner, caught.value.message):
        assert f"session {connection.info.backend_pid} (squizzle test) of {connection.info.user}" in text
        assert "pg_read_all_stats" in text


def test_who_blocks_is_told_to_somebody_who_may_not_see_what_it_does(
    weak: Connection, other: Connection, connection: Connection, role: str, database: str, folder: Folder
) -> None:
    target = Target(database=database)
    give(connection, role, f"CREATE ON DATABASE {database}", "USAGE, CREATE ON SCHEMA public")
    folder.write("1", "CREATE TABLE t (a int)")
    apply_versions(weak, target, folder.read())
    folder.write("2", "ALTER TABLE t ADD COLUMN b int")
    told: list[str] = []
    policy = Policy(timeouts=Timeouts(budget=timedelta(seconds=1)))

    with other.transaction(force_rollback=True):
        other.execute("SELECT FROM t")
        with pytest.raises(LockTimeoutError) as caught:
            apply_versions(weak, target, folder.read(), policy=policy, listener=Listener(on_wait=told.append))

    who = f"session {other.info.backend_pid} (squizzle somebody else, {other.info.user})"
    assert f"Blocked by {who}; what it does since when is shown to members of pg_read_all_stats only" in (
        caught.value.message
    )
    # It waited for the holder without queueing, although the age of the holder's transaction is hidden.
    assert 1 <= len(told) <= 5


def test_a_role_and_a_schema_with_quotes_and_blanks_in_their_names_work(
    access: ServerAccess, control: Connection, connection: Connection, database: str, folder: Folder
) -> None:
    odd = f"r \" ' ; -- {secrets.token_hex(3)}"
    control.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(odd)))
    give(connection, odd, f"CREATE ON DATABASE {database}")
    schema = "s '; DROP SCHEMA public; --\" ü"
    connection.execute(sql.SQL("CREATE SCHEMA {} AUTHORIZATION {}").format(*map(sql.Identifier, (schema, odd))))
    target = Target(database=database, schema=schema)
    folder.write("1", "CREATE TABLE t (a int)", down="DROP TABLE t", verify="SELECT count(*) = 0 FROM t")

    with connect(replace(access, user=odd), database, purpose="odd") as session:
        apply_versions(session, target, folder.read())
        assert [row.applied_by for row, _ in read_status(session, target, folder.read()).applied] == [odd]
        assert all(check.ok for check in verify_versions(session, target, folder.read()))
        roll_back_versions(session, target, folder.read(), only="1")
    connection.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(odd)))
    control.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(odd)))


def test_a_server_whose_files_were_replaced_is_refused_before_anything_is_changed(
    connection: Connection, target: Target, folder: Folder
) -> None:
    folder.write("1", "CREATE TABLE t (a int)")
    # What an upgrade under a running server does to it: the library is not where it was, or is another one's.
    connection.execute("UPDATE pg_proc SET probin = '$libdir/gone' WHERE proname = 'plpgsql_inline_handler'")

    with pytest.raises(DatabaseError, match=r"could not run PL/pgSQL in .*could not access file") as caught:
        apply_versions(connection, target, folder.read())

    assert caught.value.sqlstate == "58P01"
    assert "upgraded under the running server" in caught.value.hint
    assert connection.execute("SELECT to_regclass('squizzle_history')").fetchone() == (None,)


def test_a_database_without_the_language_is_migrated_all_the_same(
    connection: Connection, target: Target, folder: Folder
) -> None:
    folder.write("1", "CREATE TABLE t (a int)")
    connection.execute("DROP EXTENSION plpgsql")

    assert apply_versions(connection, target, folder.read()).outcomes
