"""Apply, roll back, verify: what is refused, what is seen, and that other schemas are left alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import psycopg
import pytest
from psycopg import sql

from squizzle.errors import (
    ChecksumMismatchError,
    DatabaseError,
    DatabaseState,
    RollbackFailedError,
    SquizzleError,
    VersionConflictError,
)
from squizzle.migrations import read_scripts
from squizzle.migrations.history import ensure_history, find_history, read_history
from squizzle.migrations.operations import Check, apply_versions, preview_apply, roll_back_versions, verify_versions
from squizzle.migrations.records import HistoryRow, Policy
from squizzle.migrations.status import read_status
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.identity import Target, ensure_identity
from squizzle.proof.digests import digest_database
from tests.integration.migrations.conftest import Folder
from tests.support.scratch import drop_databases

pytestmark = pytest.mark.one_server

Look = Callable[..., set[str]]
Rows = Callable[..., list[HistoryRow]]


def contents(connection: Connection) -> object:
    """Everything in the database, our own bookkeeping included."""
    identity = connection.execute("SELECT to_regclass('squizzle.identity')").fetchone()
    return digest_database(connection, bookkeeping=True), identity


# --- versions that do not fit --------------------------------------------------------------------------------------


def late(folder: Folder) -> None:
    folder.write("2", "CREATE TABLE late (a int)")


def unknown(folder: Folder) -> None:
    (folder.path / "3_change").rename(folder.path / "5_change")


def changed(folder: Folder) -> None:
    folder.write("1", "CREATE TABLE one (a int, b int)")


def both(folder: Folder) -> None:
    late(folder)
    changed(folder)


@pytest.mark.parametrize(
    ("spoil", "kind", "code", "words"),
    [
        (late, VersionConflictError, 5, "older than what is applied (3): 2"),
        (unknown, VersionConflictError, 5, "not in the migrations folder: 3"),
        (changed, ChecksumMismatchError, 6, "changed after it was applied: 1_change/up.sql"),
        (both, ChecksumMismatchError, 6, "1_change/up.sql"),
    ],
)
def test_a_folder_that_does_not_fit_the_history_is_refused_and_nothing_changes(
    connection: Connection,
    target: Target,
    folder: Folder,
    spoil: Callable[[Folder], None],
    kind: type[SquizzleError],
    code: int,
    words: str,
) -> None:
    folder.write("1", "CREATE TABLE one (a int)")
    folder.write("3", "CREATE TABLE three (a int)")
    apply_versions(connection, target, folder.read())
    folder.write("4", "CREATE TABLE four (a int)")
    spoil(folder)
    before = contents(connection)

    for act in (apply_versions, preview_apply):
        with pytest.raises(kind) as caught:
            act(connection, target, folder.read())
        assert caught.value.code == code
        assert words in caught.value.message
        assert caught.value.database_state is DatabaseState.UNTOUCHED

    assert contents(connection) == before


def test_a_late_version_is_applied_where_the_policy_allows_it_and_rolled_back_by_its_number(
    connection: Connection, target: Target, folder: Folder, look: Look
) -> None:
    policy = Policy(out_of_order=True)
    for version in ("1", "3"):
        folder.write(version, f"CREATE TABLE t{version} (a int)", down=f"DROP TABLE t{version}")
    apply_versions(connection, target, folder.read())
    folder.write("2", "CREATE TABLE t2 (a int)", down="DROP TABLE t2")

    assert [one.migration.version for one in preview_apply(connection, target, folder.read(), policy=policy)] == ["2"]
    apply_versions(connection, target, folder.read(), policy=policy)
    assert look(connection) == {"t1", "t2", "t3"}
    assert read_status(connection, target, folder.read()).current == "3"

    roll_back_versions(connection, target, folder.read(), to="2")
    assert look(connection) == {"t1", "t2"}


def test_a_history_table_of_an_earlier_version_gets_the_columns_that_it_lacks(
    connection: Connection, target: Target, folder: Folder
) -> None:
    folder.write("1", "CREATE TABLE one (a int)")
    apply_versions(connection, target, folder.read())
    connection.execute("ALTER TABLE squizzle_history DROP COLUMN observed_locks, DROP COLUMN predicted_locks")
    folder.write("2", "CREATE TABLE two (a int)")

    apply_versions(connection, target, folder.read())

    assert connection.execute("SELECT version, observed_locks FROM squizzle_history ORDER BY id").fetchall()


@pytest.mark.parametrize("act", [apply_versions, roll_back_versions])
def test_what_is_refused_in_a_database_that_was_never_touched_leaves_no_trace(
    connection: Connection, target: Target, folder: Folder, act: Callable[..., object]
) -> None:
    folder.write("1", "SELECT 1", down="SELECT 1")
    before = contents(connection)

    with pytest.raises(VersionConflictError):
        act(connection, target, folder.read(), only="7")

    assert contents(connection) == before
    assert not find_history(connection, "public")


def test_a_preview_shows_what_would_run_and_changes_nothing(
    connection: Connection, target: Target, folder: Folder
) -> None:
    folder.write("1", "CREATE TABLE one (a int)")
    folder.write("2", "CREATE INDEX CONCURRENTLY ON one (a)")
    before = contents(connection)

    planned = preview_apply(connection, target, folder.read())

    assert [(one.source, one.transactional) for one in planned] == [
        ("1_change/up.sql", True),
        ("2_change/up.sql", False),
    ]
    assert contents(connection) == before


# --- the history as others read it ---------------------------------------------------------------------------------


def test_the_history_has_the_columns_that_monitoring_reads(
    connection: Connection, target: Target, folder: Folder
) -> None:
    folder.write("1", "SELECT 1")
    folder.write("2", "SELECT 1 / 0")
    with pytest.raises(SquizzleError):
        apply_versions(
            connection, replace(target, expected=replace(target.expected, environment="staging")), folder.read()
        )

    columns = connection.execute(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'squizzle_history'"
        " ORDER BY ordinal_position"
    ).fetchall()
    assert columns[:5] == [
        ("version", "text"),
        ("applied_at", "timestamp with time zone"),
        ("success", "boolean"),
        ("applied_by", "text"),
        ("error", "text"),
    ]
    assert {name for name, _ in columns[5:]} >= {
        *(
            "id",
            "name",
            "checksum",
            "direction",
            "duration_ms",
            "environment",
            "rollout_id",
            "approved_by",
            "certificate",
        )
    }
    found = connection.execute(
        "SELECT version, success, applied_by = session_user, applied_at <= clock_timestamp(), environment,"
        " duration_ms >= 0, checksum, name, direction, error LIKE '%division by zero' FROM squizzle_history ORDER BY id"
    ).fetchall()
    checksums = [migration.checksum for migration in folder.read()]
    assert found == [
        ("1", True, True, True, "staging", True, checksums[0], "change", "apply", None),
        ("2", False, True, True, "staging", True, checksums[1], "change", "apply", True),
    ]


def test_the_history_is_made_once(connection: Connection) -> None:
    assert not find_history(connection, "public")
    assert read_history(connection, "public").rows == ()

    ensure_history(connection, "public")
    ensure_history(connection, "public")

    assert find_history(connection, "public")
    assert read_history(connection, "public").rows == ()


def test_the_status_tells_what_is_applied_pending_and_failed(
    connection: Connection, target: Target, folder: Folder
) -> None:
    for version in ("1", "2", "3"):
        folder.write(version, f"CREATE TABLE t{version} (a int)")
    apply_versions(connection, target, folder.read(), to="2")
    folder.write("1", "CREATE TABLE t1 (b int)")
    (folder.path / "2_change").rename(folder.path / ".2_change")
    folder.write("4", "SELECT 1 / 0")

    status = read_status(connection, target, folder.read())

    assert status.database == target.database
    assert status.current == "2"
    assert [(row.version, same) for row, same in status.applied] == [("1", False), ("2", None)]
    assert [migration.version for migration in status.pending] == ["3", "4"]
    assert status.failed == status.running == ()
    assert status.identity is not None


# --- verify and drift ----------------------------------------------------------------------------------------------


def failing(checks: tuple[Check, ...]) -> dict[str, str]:
    return {check.name: check.detail for check in checks if not check.ok}


@pytest.fixture
def verified(connection: Connection, target: Target, folder: Folder) -> Folder:
    """Two applied versions that verify."""
    folder.write("1", "CREATE TABLE t (a int)", verify="SELECT to_regclass('t') IS NOT NULL")
    folder.write("2", "INSERT INTO t VALUES (1), (2)", verify="SELECT true;\nSELECT count(*) > 0 FROM t")
    apply_versions(connection, target, folder.read())
    return folder


def test_what_was_applied_and_left_alone_verifies(connection: Connection, target: Target, verified: Folder) -> None:
    checks = verify_versions(connection, target, verified.read())

    assert failing(checks) == {}
    versions = ["1 file", "2 file", "1 verify.sql", "2 verify.sql"]
    assert [check.name for check in checks] == [*versions, "drift", "invalid indexes", "constraints not validated"]
    only = verify_versions(connection, target, verified.read(), only="2")
    assert [check.name for check in only] == ["2 file", "2 verify.sql"]


DRIFTS = {
    "a column more": "ALTER TABLE t ADD COLUMN b int",
    "another type": "ALTER TABLE t ALTER COLUMN a TYPE bigint",
    "a default": "ALTER TABLE t ALTER COLUMN a SET DEFAULT 7",
    "an index": "CREATE INDEX ON t (a)",
    "a constraint": "ALTER TABLE t ADD CHECK (a > 0)",
    "a table": "CREATE TABLE extra (a int)",
    "a view": "CREATE VIEW v AS SELECT a FROM t",
    "a function": "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "a privilege": "GRANT SELECT ON t TO PUBLIC",
    "a comment": "COMMENT ON TABLE t IS 'touched'",
    "triggers turned off": "CREATE TABLE c (a int PRIMARY KEY); ALTER TABLE c DISABLE TRIGGER ALL",
}


@pytest.mark.parametrize("drift", DRIFTS.values(), ids=DRIFTS.keys())
def test_a_change_by_hand_is_seen_as_drift(
    connection: Connection, target: Target, verified: Folder, drift: str
) -> None:
    connection.execute(drift)

    found = failing(verify_versions(connection, target, verified.read()))

    assert list(found) == ["drift"]
    assert "changed by somebody else" in found["drift"]


@pytest.mark.parametrize("harmless", ["INSERT INTO t VALUES (3)", "ANALYZE t", "CREATE SCHEMA elsewhere", "VACUUM t"])
def test_what_does_not_change_the_schema_is_no_drift(
    connection: Connection, target: Target, verified: Folder, harmless: str
) -> None:
    connection.execute(harmless)

    assert failing(verify_versions(connection, target, verified.read())) == {}


def test_the_next_run_takes_the_schema_as_it_finds_it(connection: Connection, target: Target, verified: Folder) -> None:
    connection.execute("CREATE TABLE extra (a int)")
    verified.write("3", "SELECT 1")

    apply_versions(connection, target, verified.read())

    assert failing(verify_versions(connection, target, verified.read())) == {}


def test_rows_that_do_not_hold_any_more_fail_their_verify_script(
    connection: Connection, target: Target, verified: Folder
) -> None:
    connection.execute("DELETE FROM t")

    found = failing(verify_versions(connection, target, verified.read()))

    assert found == {"2 verify.sql": "line 2: 1 of 1 rows are not true: SELECT count(*) > 0 FROM t"}


def test_files_that_changed_or_are_gone_are_named(connection: Connection, target: Target, verified: Folder) -> None:
    verified.write("1", "CREATE TABLE t (a bigint)")
    (verified.path / "2_change").rename(verified.path / ".2_change")

    found = failing(verify_versions(connection, target, verified.read()))

    assert found == {"1 file": "changed since it was applied", "2 file": "not on disk"}


@pytest.mark.parametrize(
    "writes",
    ["INSERT INTO t VALUES (9)", "CREATE TABLE u (a int)", "DELETE FROM t RETURNING true", "SELECT nextval('s') > 0"],
)
def test_a_verify_script_that_writes_is_refused_and_writes_nothing(
    connection: Connection, target: Target, verified: Folder, writes: str
) -> None:
    connection.execute("CREATE SEQUENCE s")
    verified.write("2", "INSERT INTO t VALUES (1), (2)", verify=f"SELECT true; {writes}")
    before = contents(connection)

    found = failing(verify_versions(connection, target, verified.read(), only="2"))

    assert "read-only transaction" in found["2 verify.sql"]
    assert contents(connection) == before


def test_a_version_that_is_not_applied_cannot_be_verified(
    connection: Connection, target: Target, verified: Folder
) -> None:
    verified.write("3", "SELECT 1")

    with pytest.raises(VersionConflictError, match="3 is not applied"):
        verify_versions(connection, target, verified.read(), only="3")


# --- another schema than public ------------------------------------------------------------------------------------


@pytest.mark.parametrize("schema", ["app", 'My "odd"; schema', "größe"])
def test_history_and_objects_go_into_the_schema_that_was_asked_for(
    access: ServerAccess, connection: Connection, target: Target, folder: Folder, look: Look, rows_of: Rows, schema: str
) -> None:
    connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
    connection.execute("CREATE TABLE public.theirs (a int)")
    before = digest_database(connection, schema="public", bookkeeping=True)
    there = replace(target, schema=schema)
    folder.write("1", "CREATE TABLE t (a int)", down="DROP TABLE t", verify="SELECT count(*) = 0 FROM t")
    folder.write("2", "SET search_path = public; SELECT 1", down="SELECT 1")
    folder.write("3", "ALTER TABLE t ADD COLUMN b int; SELECT * FROM theirs", down="ALTER TABLE t DROP COLUMN b")

    apply_versions(connection, there, folder.read())

    assert look(connection, schema) == {"t"}
    assert [row.version for row in rows_of(connection, schema)] == ["1", "2", "3"]
    assert not find_history(connection, "public")
    assert digest_database(connection, schema="public", bookkeeping=True) == before
    with connect(access, target.database, purpose="test", read_only=True) as fresh:
        assert failing(verify_versions(fresh, there, folder.read())) == {}
    assert read_status(connection, target, folder.read()).current is None

    roll_back_versions(connection, there, folder.read(), to="1")
    roll_back_versions(connection, there, folder.read(), only="1")
    assert look(connection, schema) == set()
    assert digest_database(connection, schema="public", bookkeeping=True) == before


def test_two_schemas_of_a_database_have_histories_of_their_own(
    connection: Connection, target: Target, folder: Folder, look: Look
) -> None:
    connection.execute("CREATE SCHEMA one; CREATE SCHEMA two")
    folder.write("1", "CREATE TABLE t (a int)")
    folder.write("2", "CREATE TABLE u (a int)")

    apply_versions(connection, replace(target, schema="one"), folder.read())
    apply_versions(connection, replace(target, schema="two"), folder.read(), only="1")

    assert look(connection, "one") == {"t", "u"}
    assert look(connection, "two") == {"t"}
    assert read_history(connection, "two").current == "1"


def test_a_schema_that_is_not_there_is_an_error_and_nothing_changes(
    connection: Connection, target: Target, folder: Folder, look: Look
) -> None:
    folder.write("1", "CREATE TABLE t (a int)")

    with pytest.raises(DatabaseError, match="nowhere") as caught:
        apply_versions(connection, replace(target, schema="nowhere"), folder.read())

    assert caught.value.database_state is DatabaseState.UNTOUCHED
    assert look(connection) == set()


# --- odd names, missing rights -------------------------------------------------------------------------------------


@pytest.fixture
def odd_database(control: Connection, database: str) -> Iterator[str]:
    """A database whose name needs every kind of quoting; it is dropped with the plain one."""
    name = f'{database} "odd" name\'s; %s {{x}} ü'
    control.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    yield name
    drop_databases(control, name)


def test_a_database_with_quotes_in_its_name_is_a_database_like_any_other(
    access: ServerAccess, odd_database: str, folder: Folder, look: Look
) -> None:
    target = Target(database=odd_database)
    folder.write("1", "CREATE TABLE t (a int)", down="DROP TABLE t")

    with connect(access, odd_database, purpose="test") as connection:
        apply_versions(connection, target, folder.read())
        assert look(connection) == {"t"}
        assert read_status(connection, target, folder.read()).database == odd_database
        assert failing(verify_versions(connection, target, folder.read())) == {}
        roll_back_versions(connection, target, folder.read(), only="1")
        assert look(connection) == set()


def refused_for_lack_of_rights(run: Callable[[], object], state: str) -> DatabaseError:
    with pytest.raises(DatabaseError) as caught:
        run()
    error = caught.value
    assert error.sqlstate == state
    assert error.hint
    assert error.database_state is DatabaseState.UNTOUCHED
    assert isinstance(error.__cause__, psycopg.Error)
    return error


def test_a_read_only_session_is_told_so_and_changes_nothing(
    access: ServerAccess, connection: Connection, target: Target, folder: Folder
) -> None:
    folder.write("1", "CREATE TABLE t (a int)")
    before = contents(connection)

    words = r"sessions are read-only \(default_transaction_read_only, set by the connection's own options\)"
    with (
        connect(access, target.database, purpose="test", read_only=True) as reader,
        pytest.raises(DatabaseError, match=words) as caught,
    ):
        apply_versions(reader, target, folder.read())

    assert caught.value.sqlstate == "25006"
    assert caught.value.database_state is DatabaseState.UNTOUCHED
    assert "connect to the primary" in caught.value.hint
    assert contents(connection) == before


@pytest.fixture
def weak(access: ServerAccess, role: str, database: str) -> Iterator[Connection]:
    """A session of somebody with no rights but everybody's."""
    with connect(replace(access, user=role), database, purpose="test") as opened:
        yield opened


def test_somebody_without_rights_is_told_so_and_changes_nothing(
    weak: Connection, connection: Connection, target: Target, folder: Folder
) -> None:
    folder.write("1", "CREATE TABLE t (a int)")
    before = contents(connection)

    error = refused_for_lack_of_rights(lambda: apply_versions(weak, target, folder.read()), "42501")

    assert "permission denied" in error.message
    assert "have the missing right granted" in error.hint
    assert contents(connection) == before


def test_somebody_who_may_not_make_the_history_is_told_so(
    weak: Connection, connection: Connection, role: str, target: Target, folder: Folder
) -> None:
    ensure_identity(connection, target.expected, database=target.database)
    grant(connection, role, "USAGE ON SCHEMA squizzle", "SELECT, INSERT, UPDATE ON squizzle.identity")
    connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    folder.write("1", "SELECT 1")

    error = refused_for_lack_of_rights(lambda: apply_versions(weak, target, folder.read()), "42501")

    assert "could not create public.squizzle_history" in error.message


def test_somebody_who_may_not_read_the_history_or_the_identity_is_told_so(
    weak: Connection, connection: Connection, role: str, target: Target, folder: Folder
) -> None:
    folder.write("1", "SELECT 1")
    apply_versions(connection, target, folder.read())

    refused_for_lack_of_rights(lambda: read_status(weak, target, folder.read()), "42501")
    grant(connection, role, "USAGE ON SCHEMA squizzle", "SELECT ON squizzle.identity")
    error = refused_for_lack_of_rights(lambda: read_status(weak, target, folder.read()), "42501")
    assert "could not read public.squizzle_history" in error.message

    grant(connection, role, "SELECT ON squizzle_history")
    assert read_status(weak, target, folder.read()).current == "1"


@pytest.mark.parametrize("dead_run", [False, True])
def test_somebody_who_may_only_read_the_history_cannot_apply(
    weak: Connection, connection: Connection, role: str, target: Target, folder: Folder, *, dead_run: bool
) -> None:
    folder.write("1", "SELECT 1")
    apply_versions(connection, target, folder.read())
    folder.write("2", "SELECT 2")
    grant(connection, role, "USAGE ON SCHEMA squizzle", "SELECT, INSERT, UPDATE ON squizzle.identity")
    grant(connection, role, "SELECT ON squizzle_history")
    if dead_run:
        connection.execute("INSERT INTO squizzle_history (version, name, direction) VALUES ('2', 'change', 'apply')")
    before = contents(connection)

    refused_for_lack_of_rights(lambda: apply_versions(weak, target, folder.read()), "42501")

    assert contents(connection) == before


def test_a_script_that_lacks_a_right_fails_like_any_other(
    weak: Connection, connection: Connection, role: str, target: Target, folder: Folder
) -> None:
    connection.execute("CREATE TABLE theirs (a int)")
    folder.write("1", "SELECT 1")
    apply_versions(connection, target, folder.read())
    grant(connection, role, "USAGE ON SCHEMA squizzle", "SELECT, INSERT, UPDATE ON squizzle.identity")
    grant(connection, role, "SELECT, INSERT, UPDATE ON squizzle_history")
    folder.write("2", "DROP TABLE theirs", down="SELECT 1")

    error = refused_for_lack_of_rights(lambda: apply_versions(weak, target, folder.read()), "42501")

    assert "2_change/up.sql:1: DROP TABLE theirs: must be owner of table theirs" in error.message
    assert [row.success for row in read_history(connection, "public").rows] == [True, False]
    assert read_history(connection, "public").rows[1].applied_by == role


def grant(connection: Connection, role: str, *rights: str) -> None:
    for right in rights:
        connection.execute(f'GRANT {right} TO "{role}"')


def test_a_rollback_without_a_down_script_says_how_the_data_comes_back(
    connection: Connection, target: Target, folder: Folder
) -> None:
    folder.write("1", "SELECT 1")
    apply_versions(connection, target, folder.read())

    with pytest.raises(RollbackFailedError, match=r"1 has no down\.sql") as caught:
        roll_back_versions(connection, target, folder.read(), only="1")
    assert "backup" in caught.value.hint


def test_a_run_lets_go_of_the_scripts_that_it_read(connection: Connection, target: Target, folder: Folder) -> None:
    folder.write("1", "CREATE TABLE t (a int)")
    preview_apply(connection, target, folder.read())
    assert read_scripts.script_statements.cache_info().currsize > 0

    apply_versions(connection, target, folder.read())

    assert read_scripts.script_statements.cache_info().currsize == 0
