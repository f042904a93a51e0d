"""Taking over from another tool: its bookkeeping becomes our history, and nothing is run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from squizzle.errors import ChecksumMismatchError, InvalidInputError, LockTimeoutError, VersionConflictError
from squizzle.migrations.adoption import Adoption, Trust, adopt_history, preview_adoption
from squizzle.migrations.operations import apply_versions, verify_versions
from squizzle.migrations.session import exclusive
from squizzle.migrations.status import read_status
from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.postgres.identity import Target
from tests.support.tools import FLYWAY_INSERT, SQITCH_IDS, TOOLS, Tool, executing

Adopt = Callable[..., Adoption]

# What is adopted does not depend on the server's version; `test_keep_in_step` runs every tool on all of them.
pytestmark = pytest.mark.parametrize("address", ["embedded"], indirect=True)


@pytest.fixture(params=TOOLS)
def tool(request: pytest.FixtureRequest) -> Tool:
    return TOOLS[request.param]


@pytest.fixture
def used(tool: Tool, tmp_path: Path, connection: Connection) -> Tool:
    """A tool that was used for the first two migrations."""
    tool.used(tmp_path, connection)
    return tool


def adopting(name: str, folder: Path, connection: Connection, target: Target) -> Adopt:
    """Use a tool, and adopt from it when called."""
    tool = TOOLS[name]
    tool.used(folder, connection)

    def adopt(trust: Trust | None = None) -> Adoption:
        return adopt_history(connection, target, tool.books(folder), trust=trust)

    return adopt


@pytest.fixture
def adopt_golang(connection: Connection, target: Target, tmp_path: Path) -> Adopt:
    return adopting("golang-migrate", tmp_path, connection, target)


def test_what_another_tool_applied_is_adopted_and_the_rest_is_pending(
    connection: Connection, target: Target, tmp_path: Path, used: Tool
) -> None:
    migrations, books = used.read(tmp_path), used.books(tmp_path)
    assert len(preview_adoption(connection, target, books).adopted) == 2
    assert read_status(connection, target, migrations).current is None  # a preview writes nothing

    adopted = adopt_history(connection, target, books).adopted

    assert [one.migration for one in adopted] == list(migrations[:2])
    status = read_status(connection, target, migrations)
    assert [(row.version, same) for row, same in status.applied] == [(one.version, True) for one in migrations[:2]]
    assert status.pending == migrations[2:]
    assert connection.execute("SELECT to_regclass('t3')").fetchone() == (None,)  # nothing was run

    apply_versions(connection, target, migrations)  # and from here on we go on
    assert connection.execute("SELECT to_regclass('t3') IS NOT NULL").fetchone() == (True,)
    assert all(check.ok for check in verify_versions(connection, target, migrations))


def test_a_second_adoption_takes_in_what_the_tool_did_since(
    connection: Connection, target: Target, tmp_path: Path, used: Tool
) -> None:
    migrations = used.read(tmp_path)
    adopt_history(connection, target, used.books(tmp_path))
    assert adopt_history(connection, target, used.books(tmp_path)) == Adoption()
    connection.execute("CREATE TABLE t3 (a int)")
    used.apply(connection, 3)

    adopted = adopt_history(connection, target, used.books(tmp_path)).adopted

    assert [one.migration for one in adopted] == [migrations[2]]
    assert read_status(connection, target, migrations).pending == ()

    connection.execute("DROP TABLE t3")
    used.revert(connection, 3)
    with pytest.raises(VersionConflictError, match=rf"does not know as applied: {migrations[2].version}$") as caught:
        adopt_history(connection, target, used.books(tmp_path))
    assert "--trust books" in caught.value.hint
    assert "--trust history" in caught.value.hint
    adoption = adopt_history(connection, target, used.books(tmp_path), trust=Trust.BOOKS)

    assert adoption.rolled_back == (migrations[2],)
    assert read_status(connection, target, migrations).pending == migrations[2:]
    apply_versions(connection, target, migrations, books=used.books(tmp_path))  # both may go on now


def test_books_that_nobody_kept_are_completed_when_the_history_is_trusted(
    connection: Connection, target: Target, tmp_path: Path, used: Tool
) -> None:
    migrations = used.read(tmp_path)
    adopt_history(connection, target, used.books(tmp_path))
    apply_versions(connection, target, migrations)

    adoption = adopt_history(connection, target, used.books(tmp_path), trust=Trust.HISTORY)

    assert adoption.written == (migrations[2],)
    completed = used.said(connection)
    used.revert(connection, 3)
    used.apply(connection, 3)
    if used.layout not in {"flyway", "sqitch"}:  # these remember the revert as well
        assert used.said(connection) == completed
    assert adopt_history(connection, target, used.books(tmp_path)) == Adoption()


def history_is_missing(connection: Connection) -> bool:
    return connection.execute("SELECT to_regclass('squizzle_history') IS NULL").fetchone() == (True,)


def test_a_run_that_failed_half_way_is_not_adopted(connection: Connection, adopt_golang: Adopt) -> None:
    connection.execute("UPDATE schema_migrations SET dirty = true")

    with pytest.raises(VersionConflictError, match="version 2 is dirty"):
        adopt_golang()
    assert history_is_missing(connection)


def test_flyways_mark_of_a_failure_is_not_adopted(connection: Connection, target: Target, tmp_path: Path) -> None:
    adopt = adopting("flyway", tmp_path, connection, target)
    connection.execute("UPDATE flyway_schema_history SET success = false WHERE version = '2'")

    with pytest.raises(VersionConflictError, match=r"V2__add_t2\.sql failed half-way") as caught:
        adopt()
    assert "flyway repair" in caught.value.hint
    assert history_is_missing(connection)


def test_a_file_that_flyway_applied_with_another_text_is_not_adopted(
    connection: Connection, target: Target, tmp_path: Path
) -> None:
    adopt = adopting("flyway", tmp_path, connection, target)
    (tmp_path / "V2__add_t2.sql").write_text("CREATE TABLE t2 (a bigint);\n")
    tool = TOOLS["flyway"]

    with pytest.raises(ChecksumMismatchError, match=r"changed after flyway applied it: V2__add_t2\.sql"):
        adopt_history(connection, target, tool.books(tmp_path))
    assert history_is_missing(connection)
    (tmp_path / "V2__add_t2.sql").write_bytes(b"\xef\xbb\xbfCREATE TABLE t2 (a int);\r\n")  # the same to Flyway
    assert len(adopt().adopted) == 2


def test_everything_below_flyways_baseline_counts_as_applied(
    connection: Connection, target: Target, tmp_path: Path
) -> None:
    tool = TOOLS["flyway"]
    tool.write(tmp_path)
    tool.create(connection)
    baseline = FLYWAY_INSERT.format(n=2, what="'<< Flyway Baseline >>', 'BASELINE', '<< Flyway Baseline >>', NULL")
    connection.execute(baseline.encode())

    adopted = adopt_history(connection, target, tool.books(tmp_path)).adopted

    assert [one.migration.version for one in adopted] == ["1", "2"]


@pytest.mark.parametrize("tool", ["golang-migrate", "sqitch"], indirect=True)
def test_a_version_that_is_not_on_disk_is_not_adopted(
    connection: Connection, target: Target, tmp_path: Path, used: Tool
) -> None:
    unknown = {"golang-migrate": "UPDATE schema_migrations SET version = 7", "sqitch": "SELECT 1"}
    connection.execute(unknown[used.layout].encode())
    if used.layout == "sqitch":  # the plan was edited: another time is another change
        plan = tmp_path / "sqitch.plan"
        plan.write_text(plan.read_text(encoding="utf-8").replace("2024-01-02T12", "2024-01-02T13"), encoding="utf-8")
    name = {"golang-migrate": "7", "sqitch": rf"orders \({SQITCH_IDS[1][:8]}\)"}[used.layout]

    with pytest.raises(VersionConflictError, match=f"not in the migrations folder: {name}") as caught:
        adopt_history(connection, target, used.books(tmp_path))
    assert f"take their rows out of {used.table}" in caught.value.hint
    assert history_is_missing(connection)


def test_a_change_that_was_reworked_is_told_from_the_earlier_one(
    connection: Connection, target: Target, tmp_path: Path
) -> None:
    # Both are called users; only the first is deployed.
    adopt = adopting("sqitch", tmp_path, connection, target)

    adopted = adopt().adopted

    assert [one.migration.version for one in adopted] == ["0001-users", "0002-orders"]
    assert read_status(connection, target, TOOLS["sqitch"].read(tmp_path)).pending[0].version == "0003-users"


def test_another_project_in_sqitchs_registry_is_none_of_ours(
    connection: Connection, target: Target, tmp_path: Path
) -> None:
    adopt = adopting("sqitch", tmp_path, connection, target)
    connection.execute("INSERT INTO sqitch.projects VALUES ('other', NULL, now(), 'A', 'a@b.c')")
    connection.execute(
        "INSERT INTO sqitch.changes VALUES ('x', 'y', 'thing', 'other', '', now(), 'A', 'a@b.c', now(), 'A', 'a@b.c')"
    )

    assert len(adopt().adopted) == 2


def test_rows_of_a_goose_before_version_3_say_what_was_taken_back(
    connection: Connection, target: Target, tmp_path: Path
) -> None:
    adopt = adopting("goose", tmp_path, connection, target)
    connection.execute("INSERT INTO goose_db_version (version_id, is_applied) VALUES (3, true), (3, false)")

    assert [one.migration.version for one in adopt().adopted] == ["00001", "00002"]


@pytest.mark.parametrize("trust", [None, Trust.BOOKS])
def test_a_tool_that_was_never_here_is_not_adopted(
    connection: Connection, target: Target, tmp_path: Path, trust: Trust | None
) -> None:
    tool = TOOLS["dbmate"]
    tool.write(tmp_path)

    with pytest.raises(InvalidInputError, match=r"public\.schema_migrations, which is not there"):
        adopt_history(connection, target, tool.books(tmp_path), trust=trust)
    assert history_is_missing(connection)


def test_the_table_of_another_tool_is_not_adopted(connection: Connection, target: Target, tmp_path: Path) -> None:
    tool = TOOLS["dbmate"]
    tool.write(tmp_path)
    TOOLS["golang-migrate"].create(connection)

    with pytest.raises(InvalidInputError, match=r"not as dbmate makes it: it wants dirty, too"):
        adopt_history(connection, target, tool.books(tmp_path))


def test_adoption_does_not_wait_for_who_migrates(
    access: ServerAccess, connection: Connection, database: str, adopt_golang: Adopt
) -> None:
    with (
        connect(access, database, purpose="other") as other,
        exclusive(other, Target(database=database)),
        pytest.raises(LockTimeoutError),
    ):
        adopt_golang()
    assert history_is_missing(connection)


def test_an_older_version_that_golang_migrate_never_ran_is_not_taken_for_applied(
    connection: Connection, target: Target, tmp_path: Path
) -> None:
    # Its table says 3; a file with the number 2 that comes later is below that, and was run by nobody.
    adopting("golang-migrate", tmp_path, connection, target)
    executing("TRUNCATE schema_migrations", "INSERT INTO schema_migrations VALUES (3, false)")(connection)
    late = {file: file.read_text() for file in tmp_path.glob("000002*")}
    for file in late:
        file.unlink()
    tool = TOOLS["golang-migrate"]
    adopt_history(connection, target, tool.books(tmp_path))
    for file, text in late.items():
        file.write_text(text)

    assert adopt_history(connection, target, tool.books(tmp_path)) == Adoption()
    assert [one.version for one in read_status(connection, target, tool.read(tmp_path)).pending] == ["000002"]
    with pytest.raises(VersionConflictError, match="older than what is applied"):
        apply_versions(connection, target, tool.read(tmp_path), books=tool.books(tmp_path))
