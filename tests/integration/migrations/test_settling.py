"""That a failed version is not there is written only where it failed as a whole, and the schema shows it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from squizzle.errors import MigrationFailedError, RefusedError, VersionConflictError
from squizzle.migrations.history import read_history
from squizzle.migrations.operations import apply_versions
from squizzle.migrations.settling import note_undone, settle_failed
from squizzle.migrations.status import read_status
from squizzle.postgres.access import Connection
from squizzle.postgres.identity import Target
from tests.integration.migrations.conftest import Folder

pytestmark = pytest.mark.one_server
TWICE = "CREATE UNIQUE INDEX CONCURRENTLY twice ON one (a)"


def fail(connection: Connection, target: Target, folder: Folder, name: str, up: str) -> None:
    folder.write(name, up)
    with pytest.raises(MigrationFailedError):
        apply_versions(connection, target, folder.read(), only=name)


def test_what_failed_as_a_whole_is_pending_again_after_the_schema_was_compared(
    connection: Connection, target: Target, folder: Folder
) -> None:
    fail(connection, target, folder, "1", "SELECT 1 / 0")
    with pytest.raises(RefusedError, match="no run before it has ended well"):
        settle_failed(connection, target, "1")
    folder.write("1", "CREATE TABLE one AS SELECT 1 AS a FROM generate_series(1, 2)")
    apply_versions(connection, target, folder.read())
    fail(connection, target, folder, "2", "CREATE TABLE two (a int); SELECT 1 / 0")

    # Somebody else's change meanwhile: nothing tells it from the script's.
    connection.execute("CREATE TABLE other (a int)")
    with pytest.raises(RefusedError, match="nothing shows that 2 left nothing behind: it was"):
        settle_failed(connection, target, "2")
    connection.execute("DROP TABLE other")
    assert "the schema is as" in settle_failed(connection, target, "2")
    assert read_status(connection, target, folder.read()).failed == ()
    assert list(read_history(connection, target.schema).applied()) == ["1"]
    with pytest.raises(VersionConflictError, match="2 has not failed as a whole"):
        settle_failed(connection, target, "2")


def test_what_left_something_behind_is_not_settled(connection: Connection, target: Target, folder: Folder) -> None:
    folder.write("1", "CREATE TABLE one AS SELECT 1 AS a FROM generate_series(1, 2)")
    apply_versions(connection, target, folder.read())
    fail(connection, target, folder, "2", f"CREATE TABLE two (a int);\n{TWICE}")
    with pytest.raises(VersionConflictError, match="2 has not failed as a whole"):
        settle_failed(connection, target, "2")


def test_an_invalid_index_is_seen(connection: Connection, target: Target, folder: Folder) -> None:
    folder.write("1", "CREATE TABLE one AS SELECT 1 AS a FROM generate_series(1, 2)")
    apply_versions(connection, target, folder.read())
    fail(connection, target, folder, "2", TWICE)
    invalid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"
    assert connection.execute(invalid).fetchone() == (1,), "the server left it"
    with pytest.raises(RefusedError, match="nothing shows that 2 left nothing behind"):
        settle_failed(connection, target, "2")


def test_what_left_something_behind_and_was_undone_is_noted_only_where_the_schema_is_as_before(
    connection: Connection, target: Target, folder: Folder
) -> None:
    folder.write("1", "CREATE TABLE one AS SELECT 1 AS a FROM generate_series(1, 2)")
    apply_versions(connection, target, folder.read())
    fail(connection, target, folder, "2", "UPDATE one SET a = 2;\nVACUUM one;\nSELECT 1 / 0")
    connection.execute("CREATE TABLE other (a int)")
    with pytest.raises(RefusedError, match="nothing shows that 2 left nothing behind: it was"):
        note_undone(connection, target, folder.read(), ["2"])
    connection.execute("DROP TABLE other")

    assert "the schema is as" in note_undone(connection, target, folder.read(), ["2"])

    assert read_status(connection, target, folder.read()).failed == ()
    assert read_history(connection, target.schema).half_done() == {}
    apply_versions(connection, target, [replace(one, up_sql="SELECT 3") for one in folder.read()])
    assert "the schema is as" in note_undone(connection, target, folder.read(), ["2", "1"])
    assert read_history(connection, target.schema).applied() == {}
    assert connection.execute("SELECT a FROM one").fetchall() == [(2,), (2,)], "no script was run"
