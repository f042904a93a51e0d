"""Drills clean up after dead drills, and after nobody else."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
from psycopg import sql

from squizzle.errors import DatabaseError, RefusedError
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.database_properties import read_properties
from squizzle.recovery.scratch import (
    DrillNames,
    drill_names,
    let_application_in,
    living_run,
    make_database,
    remove_run,
    sweep_dead_runs,
)
from tests.support.names import databases, roles
from tests.support.scratch import drop_databases


@pytest.fixture
def run_id(control: Connection) -> Iterator[str]:
    """A run of which nothing is left afterwards."""
    chosen = secrets.token_hex(4)
    yield chosen
    drop_databases(control, f"squizzle_drill_{chosen}")
    for role in roles(control, f"squizzle_drill_{chosen}"):
        control.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


@pytest.fixture
def other(access: ServerAccess) -> Iterator[Connection]:
    """The control session of another drill."""
    with connect(access, "postgres", purpose="test other drill") as session:
        yield session


def create(control: Connection, name: str) -> None:
    control.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0 STRATEGY file_copy").format(sql.Identifier(name)))


def create_role(control: Connection, name: str) -> None:
    control.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(name)))


def things(control: Connection, run_id: str) -> set[str]:
    prefix = f"squizzle_drill_{run_id}"
    return databases(control, prefix) | roles(control, prefix)


def test_drill_database_has_what_a_careful_team_gives_one(control: Connection, run_id: str) -> None:
    names = drill_names(run_id)
    make_database(control, names)
    found = read_properties(control, names.database)
    assert found.owner == names.owner
    assert {(grant.grantee, grant.privilege) for grant in found.grants or ()} >= {(names.application, "CONNECT")}
    assert not [grant for grant in found.grants or () if not grant.grantee]
    assert {(setting.role, setting.name) for setting in found.settings} == {
        ("", "work_mem"),
        ("", "search_path"),
        (names.application, "statement_timeout"),
    }
    assert found.connection_limit == 90
    assert "Not production" in str(found.comment)
    with pytest.raises(DatabaseError, match="already exists"):
        make_database(control, names)


def test_application_can_work_and_not_more(access: ServerAccess, control: Connection, run_id: str) -> None:
    names = drill_names(run_id)
    make_database(control, names)
    with connect(access, names.database, purpose="test") as session:
        session.execute("CREATE TABLE t (id serial, n int)")
        let_application_in(session, names)
        session.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(names.application)))
        session.execute("INSERT INTO t (n) VALUES (1); UPDATE t SET n = 2; DELETE FROM t")
        may = "SELECT has_table_privilege('t', 'TRUNCATE'), has_schema_privilege('public', 'CREATE')"
        assert session.execute(may).fetchone() == (False, False)


def leave_behind(control: Connection, names: DrillNames) -> None:
    """What a drill has in the middle of a switch-over."""
    for role in (names.owner, names.application):
        create_role(control, role)
    for database in (names.database, names.restored, names.kept):
        create(control, database)


def test_dead_runs_are_swept_and_living_ones_left_alone(control: Connection, other: Connection, run_id: str) -> None:
    dead = drill_names(run_id)
    leave_behind(control, dead)
    living = secrets.token_hex(4)
    create(control, drill_names(living).database)
    create_role(control, drill_names(living).owner)
    try:
        with living_run(other, living):
            swept = sweep_dead_runs(control)
            assert things(control, living) == {drill_names(living).database, drill_names(living).owner}
        assert set(swept) == {dead.database, dead.restored, dead.kept, dead.owner, dead.application}
        assert things(control, run_id) == set()
        assert set(sweep_dead_runs(control)) == {drill_names(living).database, drill_names(living).owner}
    finally:
        remove_run(control, living)


def test_a_copy_of_a_dead_run_with_rights_of_another_ones_roles_keeps_neither(
    access: ServerAccess, control: Connection
) -> None:
    """As of a drill that was killed while it played with a copy of what all of its disasters share."""
    base, copy = (f"{first}{secrets.token_hex(4)[1:]}" for first in "0f")
    names = drill_names(base)
    create_role(control, names.application)
    create(control, drill_names(copy).database)
    try:
        with connect(access, drill_names(copy).database, purpose="test") as session:
            session.execute(sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(sql.Identifier(names.application)))
        assert set(sweep_dead_runs(control)) == {names.application, drill_names(copy).database}
    finally:
        remove_run(control, copy)
        remove_run(control, base)


def test_run_whose_process_died_is_a_dead_one(access: ServerAccess, control: Connection, run_id: str) -> None:
    create(control, drill_names(run_id).database)
    session = connect(access, "postgres", purpose="test drill")
    with living_run(session, run_id):
        assert sweep_dead_runs(control) == ()
        control.execute("SELECT pg_terminate_backend(%s, 5000)", (session.info.backend_pid,))
        assert sweep_dead_runs(control) == (drill_names(run_id).database,)
        session.close()


def test_names_that_only_look_alike_are_nobodys_to_drop(control: Connection, run_id: str) -> None:
    foreign = [
        f"squizzle_drill_{run_id}ab",
        f"squizzle_drill_{run_id[:7]}",
        f"squizzle_drill_{run_id.upper()}X",
        "squizzle_drill_reports",
        f"my_squizzle_drill_{run_id}",
        f"SQUIZZLE_DRILL_{run_id}",
    ]
    create(control, drill_names(run_id).database)
    for name in foreign:
        create_role(control, name)
    create(control, foreign[0])
    try:
        assert set(sweep_dead_runs(control)) == {drill_names(run_id).database}
        assert databases(control, foreign[0]) == {foreign[0]}
        assert remove_run(control, run_id) == ()
        assert databases(control, foreign[0]) == {foreign[0]}
        assert [name for name in foreign if not roles(control, name)] == []
    finally:
        for name in foreign:
            control.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))


def test_second_run_of_the_same_id_is_refused_while_the_first_lives(
    control: Connection, other: Connection, run_id: str
) -> None:
    with (
        living_run(control, run_id),
        pytest.raises(RefusedError, match="is running already"),
        living_run(other, run_id),
    ):
        raise AssertionError("two drills with one id")
    with living_run(other, run_id):
        pass


def test_what_cannot_be_dropped_is_told_and_the_rest_goes(
    access: ServerAccess, control: Connection, run_id: str
) -> None:
    names = drill_names(run_id)
    leave_behind(control, names)
    with connect(access, names.database, purpose="test") as session:
        session.execute("CREATE TABLE t (n int)")
        session.execute("BEGIN; INSERT INTO t VALUES (1)")
        session.execute(sql.SQL("PREPARE TRANSACTION {}").format(run_id))
    control.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(names.owner)))
    control.execute(sql.SQL("GRANT CREATE ON DATABASE postgres TO {}").format(sql.Identifier(names.owner)))
    try:
        swept = sweep_dead_runs(control)
        assert set(swept) == {names.restored, names.kept, names.application}
        left = remove_run(control, run_id)
        assert len(left) == 2
        assert names.database in left[0]
        assert "prepared transaction" in left[0]
        assert names.owner in left[1]
        assert things(control, run_id) == {names.database, names.owner}
    finally:
        control.execute(sql.SQL("REVOKE CREATE ON DATABASE postgres FROM {}").format(sql.Identifier(names.owner)))
        with connect(access, names.database, purpose="test") as session:
            session.execute(sql.SQL("ROLLBACK PREPARED {}").format(run_id))
    assert remove_run(control, run_id) == ()
    assert things(control, run_id) == set()


def test_removing_twice_is_harmless(control: Connection, run_id: str) -> None:
    create(control, drill_names(run_id).restored)
    assert remove_run(control, run_id) == remove_run(control, run_id) == ()
