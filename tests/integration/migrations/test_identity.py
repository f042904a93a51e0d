"""Who a database is: written once, compared first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from squizzle.errors import DatabaseState, IdentityMismatchError
from squizzle.migrations.history import find_history, read_history
from squizzle.migrations.operations import apply_versions, preview_apply, roll_back_versions, verify_versions
from squizzle.migrations.status import read_status
from squizzle.postgres.access import Connection
from squizzle.postgres.identity import ExpectedIdentity, Target, ensure_identity, read_identity
from tests.integration.migrations.conftest import Folder

pytestmark = pytest.mark.one_server

Look = Callable[..., set[str]]


def meaning(target: Target, environment: str | None = None, **more: object) -> Target:
    return replace(target, expected=ExpectedIdentity(environment=environment, **more))


def test_a_database_has_no_identity_until_it_is_changed(connection: Connection, target: Target, folder: Folder) -> None:
    read_status(connection, target, folder.read())
    preview_apply(connection, target, folder.read())
    verify_versions(connection, target, folder.read())

    assert read_identity(connection) is None


def test_the_first_change_writes_an_identity_that_stays(connection: Connection, target: Target, folder: Folder) -> None:
    folder.write("1", "SELECT 1", down="SELECT 1")
    apply_versions(connection, target, folder.read())
    first = read_identity(connection)
    assert first is not None
    assert (first.name, first.environment, first.fleet) == (target.database, None, None)

    folder.write("2", "SELECT 2", down="SELECT 2")
    apply_versions(connection, target, folder.read())
    roll_back_versions(connection, target, folder.read(), to="1")

    assert read_identity(connection) == first


@pytest.mark.parametrize(
    "named", [{"environment": "staging"}, {"fleet": "shops"}, {"environment": "staging", "fleet": "shops"}], ids=str
)
def test_the_first_who_names_an_environment_or_a_fleet_claims_an_unnamed_database(
    connection: Connection, target: Target, folder: Folder, named: dict[str, str]
) -> None:
    folder.write("1", "SELECT 1")
    apply_versions(connection, target, folder.read())
    unnamed = read_identity(connection)
    assert unnamed is not None

    apply_versions(connection, replace(target, expected=ExpectedIdentity(**named)), folder.read())

    assert read_identity(connection) == replace(unnamed, **named)
    for what, value in named.items():
        with pytest.raises(IdentityMismatchError, match=f"{what} is {value}, expected other"):
            apply_versions(connection, replace(target, expected=ExpectedIdentity(**{what: "other"})), folder.read())
    # Who does not say anything is not refused, and takes nothing away.
    apply_versions(connection, target, folder.read())
    assert read_identity(connection) == replace(unnamed, **named)


def test_a_refused_plan_claims_nothing(connection: Connection, target: Target, folder: Folder) -> None:
    folder.write("1", "SELECT 'open")

    with pytest.raises(Exception, match="not readable as SQL"):
        apply_versions(connection, meaning(target, "staging"), folder.read())

    assert read_identity(connection) is None
    assert not find_history(connection, "public")


WRONG = {
    "environment": {"environment": "production"},
    "fleet": {"environment": "staging", "fleet": "others"},
    "name": {"environment": "staging", "name": "billing"},
    "id": {"environment": "staging", "id": UUID("11111111-1111-4111-8111-111111111111")},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_a_database_that_is_not_the_one_that_was_meant_is_refused_before_anything_changes(
    connection: Connection, target: Target, folder: Folder, look: Look, wrong: dict[str, object]
) -> None:
    folder.write("1", "CREATE TABLE t (a int)", down="DROP TABLE t")
    apply_versions(connection, meaning(target, "staging", fleet="shops"), folder.read())
    folder.write("2", "CREATE TABLE u (a int)", down="DROP TABLE u")
    migrations = folder.read()
    # A run that died: closing its row would be a change, too.
    connection.execute("INSERT INTO squizzle_history (version, name, direction) VALUES ('2', 'change', 'apply')")
    before = read_history(connection, "public")
    identity = read_identity(connection)
    meant = replace(target, expected=ExpectedIdentity(**wrong))
    actions: list[Callable[[], object]] = [
        lambda: apply_versions(connection, meant, migrations),
        lambda: roll_back_versions(connection, meant, migrations, only="1"),
        lambda: preview_apply(connection, meant, migrations),
        lambda: verify_versions(connection, meant, migrations),
        lambda: read_status(connection, meant, migrations),
        lambda: ensure_identity(connection, meant.expected, database=target.database),
    ]

    for act in actions:
        with pytest.raises(IdentityMismatchError) as caught:
            act()
        assert caught.value.code == 9
        assert caught.value.database_state is DatabaseState.UNTOUCHED
        assert target.database in caught.value.message

    assert look(connection) == {"t"}
    assert read_history(connection, "public") == before
    assert read_identity(connection) == identity


def test_an_expected_id_is_not_met_by_a_database_that_has_none(
    connection: Connection, target: Target, folder: Folder, look: Look
) -> None:
    folder.write("1", "CREATE TABLE t (a int)")

    with pytest.raises(IdentityMismatchError, match="id is not written yet"):
        apply_versions(connection, meaning(target, id=uuid4()), folder.read())

    assert look(connection) == set()
    assert read_identity(connection) is None


def test_the_right_id_is_accepted(connection: Connection, target: Target, folder: Folder) -> None:
    folder.write("1", "SELECT 1")
    apply_versions(connection, target, folder.read())
    identity = read_identity(connection)
    assert identity is not None

    folder.write("2", "SELECT 2")
    assert apply_versions(connection, meaning(target, "staging", id=identity.id), folder.read()).outcomes


def test_a_database_has_one_identity_only(connection: Connection) -> None:
    ensure_identity(connection, ExpectedIdentity(), database="shop")

    with pytest.raises(Exception, match="unique constraint"):
        connection.execute("INSERT INTO squizzle.identity (name) VALUES ('second')")
    assert connection.execute("SELECT count(*) FROM squizzle.identity").fetchone() == (1,)
