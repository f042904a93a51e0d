"""Which scripts will run, in which order, and when nothing may run at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squizzle.errors import (
    ChecksumMismatchError,
    DatabaseState,
    InvalidInputError,
    RollbackFailedError,
    SquizzleError,
    VersionConflictError,
)
from squizzle.migrations.history import History
from squizzle.migrations.planning import plan_apply, plan_rollback
from squizzle.migrations.records import Direction, HistoryRow, Migration, PlannedMigration

MakeMigration = Callable[..., Migration]
MakeRow = Callable[..., HistoryRow]


@pytest.fixture
def migrations(make_migration: MakeMigration) -> tuple[Migration, ...]:
    return tuple(make_migration(version) for version in ("1", "2", "9", "10"))


@pytest.fixture
def applied(make_row: MakeRow) -> Callable[..., History]:
    def make(*versions: str) -> History:
        return History(rows=tuple(make_row(number, version) for number, version in enumerate(versions, 1)))

    return make


def versions(planned: tuple[PlannedMigration, ...]) -> list[str]:
    return [one.migration.version for one in planned]


def refused(kind: type[SquizzleError], plan: Callable[[], object]) -> SquizzleError:
    with pytest.raises(kind) as caught:
        plan()
    assert type(caught.value) is kind
    assert caught.value.hint
    assert caught.value.database_state is DatabaseState.UNTOUCHED
    return caught.value


Applied = Callable[..., History]
Migrations = tuple[Migration, ...]


# --- apply ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "limits", "planned"),
    [
        ([], {}, ["1", "2", "9", "10"]),
        (["1", "2"], {}, ["9", "10"]),
        (["1", "2", "9", "10"], {}, []),
        ([], {"to": "9"}, ["1", "2", "9"]),
        (["1"], {"to": "9"}, ["2", "9"]),
        (["1"], {"to": "10"}, ["2", "9", "10"]),
        (["1", "2"], {"to": "1"}, []),
        (["1"], {"only": "2"}, ["2"]),
        ([], {"only": "1"}, ["1"]),
        (["1", "2"], {"only": "1"}, []),  # it is there already; to repeat a command harms nobody
    ],
)
def test_pending_versions_are_planned_in_order(
    migrations: Migrations, applied: Applied, there: list[str], limits: dict[str, str], planned: list[str]
) -> None:
    assert versions(plan_apply(migrations, applied(*there), **limits)) == planned


def test_a_planned_up_script_has_its_statements_its_verification_and_its_source(make_migration: MakeMigration) -> None:
    migration = make_migration("1", up="SELECT 1;\nSELECT 2;", verify="SELECT true;\n\nSELECT 1 = 1")

    (planned,) = plan_apply([migration], History())

    assert planned.direction is Direction.APPLY
    assert planned.source == "1_change/up.sql"
    assert [(one.sql, one.line) for one in planned.statements] == [("SELECT 1", 1), ("SELECT 2", 2)]
    assert [(one.sql, one.line) for one in planned.verify] == [("SELECT true", 1), ("SELECT 1 = 1", 3)]
    assert planned.transactional
    assert planned.done_before == 0


def test_one_statement_that_refuses_a_transaction_takes_the_whole_script_out_of_it(
    make_migration: MakeMigration,
) -> None:
    migration = make_migration("1", up="CREATE TABLE t (a int); CREATE INDEX CONCURRENTLY ON t (a);")

    (planned,) = plan_apply([migration], History())

    assert not planned.transactional


def test_an_empty_script_is_planned_and_does_nothing(make_migration: MakeMigration) -> None:
    (planned,) = plan_apply([make_migration("1", up="-- nothing yet\n")], History())

    assert planned.statements == ()
    assert planned.transactional


@pytest.mark.parametrize("limit", ["to", "only"])
def test_a_version_that_is_not_on_disk_cannot_be_applied(migrations: Migrations, applied: Applied, limit: str) -> None:
    error = refused(VersionConflictError, lambda: plan_apply(migrations, applied("1"), **{limit: "3"}))

    assert "there is no version 3" in error.message
    assert "10" in error.hint
    assert "empty" in refused(VersionConflictError, lambda: plan_apply([], History(), **{limit: "3"})).hint


@pytest.mark.parametrize("limit", ["to", "only"])
def test_a_version_is_named_as_it_is_written(migrations: Migrations, limit: str) -> None:
    refused(VersionConflictError, lambda: plan_apply(migrations, History(), **{limit: "01"}))


def test_a_version_cannot_be_applied_before_those_before_it(migrations: Migrations, applied: Applied) -> None:
    error = refused(VersionConflictError, lambda: plan_apply(migrations, applied("1"), only="10"))

    assert "10 cannot be applied alone: 2, 9 come before it" in error.message
    assert error.hint == "squizzle apply --to 10"


@pytest.mark.parametrize("limits", [{}, {"to": "10"}, {"to": "2"}, {"only": "2"}])
def test_a_version_older_than_what_is_applied_is_refused(
    migrations: Migrations, applied: Applied, limits: dict[str, str]
) -> None:
    error = refused(VersionConflictError, lambda: plan_apply(migrations, applied("1", "9"), **limits))

    assert "older than what is applied (9): 2" in error.message


@pytest.mark.parametrize("limits", [{}, {"to": "9"}, {"only": "9"}, {"only": "1"}])
def test_nothing_is_applied_over_versions_that_are_not_on_disk(
    migrations: Migrations, applied: Applied, limits: dict[str, str]
) -> None:
    error = refused(VersionConflictError, lambda: plan_apply(migrations, applied("1", "2", "3", "4"), **limits))

    assert "not in the migrations folder: 3, 4" in error.message


@pytest.mark.parametrize("limits", [{}, {"to": "9"}, {"only": "9"}, {"only": "1"}])
def test_nothing_is_applied_when_an_applied_file_was_changed(
    migrations: Migrations, make_migration: MakeMigration, applied: Applied, limits: dict[str, str]
) -> None:
    changed = (make_migration("1", up="SELECT 1; DROP TABLE users;"), *migrations[1:])

    error = refused(ChecksumMismatchError, lambda: plan_apply(changed, applied("1", "2"), **limits))

    assert error.message == "changed after it was applied: 1_change/up.sql"


def test_down_and_verify_scripts_may_be_changed_afterwards(
    migrations: Migrations, make_migration: MakeMigration, applied: Applied
) -> None:
    changed = (make_migration("1", down="SELECT 'better'", verify="SELECT true"), *migrations[1:])

    assert versions(plan_apply(changed, applied("1", "2"))) == ["9", "10"]


def test_a_file_may_be_changed_while_its_version_is_not_applied(
    migrations: Migrations, make_migration: MakeMigration, make_row: MakeRow
) -> None:
    changed = (migrations[0], make_migration("2", up="SELECT 'mended'"))
    history = History(
        rows=(
            make_row(1, "1"),
            make_row(2, "2", success=False),
            make_row(3, "2", success=None),
            make_row(4, "2"),
            make_row(5, "2", direction=Direction.ROLLBACK),
        )
    )

    assert versions(plan_apply(changed, history)) == ["2"]


def test_a_row_without_a_checksum_is_not_compared(make_migration: MakeMigration, make_row: MakeRow) -> None:
    history = History(rows=(make_row(1, "1", checksum_of=None),))

    assert plan_apply([make_migration("1", up="SELECT 'anything'")], history) == ()


def test_a_half_done_script_goes_on_behind_the_statements_that_finished(
    make_migration: MakeMigration, make_row: MakeRow
) -> None:
    up = ";\n".join(f"CREATE INDEX CONCURRENTLY {name} ON t ({name})" for name in "abc")
    history = History(rows=(make_row(1, "1", success=False, statements_done=2, checksum_of=up),))

    (planned,) = plan_apply([make_migration("1", up=up)], history)

    assert [one.sql for one in planned.statements] == ["CREATE INDEX CONCURRENTLY c ON t (c)"]
    assert planned.statements[0].line == 3
    assert planned.done_before == 2


def test_a_half_done_script_that_was_changed_is_refused(make_migration: MakeMigration, make_row: MakeRow) -> None:
    # Its statements are counted, and the count says nothing about another text.
    rows = (
        make_row(1, "1", success=False, statements_done=2, checksum_of="VACUUM a; VACUUM b; VACUUM c"),
        make_row(2, "1", success=False, direction=Direction.ROLLBACK, checksum_of="VACUUM a; VACUUM b; VACUUM c"),
    )
    changed = make_migration("1", up="VACUUM b; VACUUM a; VACUUM c")

    refused(ChecksumMismatchError, lambda: plan_apply([changed], History(rows=rows)))


@pytest.mark.parametrize(
    "sql", ["BEGIN", "COMMIT", "rollback", "START TRANSACTION", "PREPARE TRANSACTION 'x'", "VACUUM"]
)
def test_a_verify_script_that_takes_the_transaction_over_is_refused_with_its_line(
    make_migration: MakeMigration, sql: str
) -> None:
    migration = make_migration("1", verify=f"SELECT true;\n{sql};")

    error = refused(InvalidInputError, lambda: plan_apply([migration], History()))

    assert error.message.startswith("1_change/verify.sql:2: a verify script runs inside the migration's transaction")
    assert sql.split(maxsplit=1)[0].upper() in error.message


@pytest.mark.parametrize("sql", ["BEGIN", "rollback", "START TRANSACTION", "PREPARE TRANSACTION 'x'"])
def test_an_up_script_that_leaves_its_transaction_open_or_undone_is_refused_with_its_line(
    make_migration: MakeMigration, sql: str
) -> None:
    migration = make_migration("1", up=f"SELECT true;\n{sql};")

    error = refused(InvalidInputError, lambda: plan_apply([migration], History()))

    assert error.message.startswith("1_change/up.sql:2: ")
    assert sql.split(maxsplit=1)[0].upper() in error.message.upper()


@pytest.mark.parametrize("script", ["up", "verify"])
def test_a_script_that_cannot_be_read_stops_the_plan_before_anything_runs(
    make_migration: MakeMigration, script: str
) -> None:
    migrations = [make_migration("1"), make_migration("2", **{script: "SELECT 'open"})]

    error = refused(InvalidInputError, lambda: plan_apply(migrations, History()))

    assert error.message.startswith(f"2_change/{script}.sql:1: ")


def test_a_mark_that_would_do_nothing_in_a_down_script_is_refused_with_its_line(
    make_migration: MakeMigration, applied: Applied
) -> None:
    migration = make_migration("1", down="SELECT 1;\n-- squizzle: save_rows\nDELETE FROM t")

    error = refused(InvalidInputError, lambda: plan_rollback([migration], applied("1"), only="1"))

    assert error.message.startswith("1_change/down.sql:3: rows are saved for up scripts")


# --- rollback ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "limits", "planned"),
    [
        (["1", "2", "9", "10"], {"to": "1"}, ["10", "9", "2"]),
        (["1", "2", "9", "10"], {"to": "9"}, ["10"]),
        (["1", "2"], {"to": "2"}, []),
        (["1", "2", "9"], {"only": "9"}, ["9"]),
        (["1"], {"only": "1"}, ["1"]),
    ],
)
def test_versions_are_rolled_back_newest_first(
    migrations: Migrations, applied: Applied, there: list[str], limits: dict[str, str], planned: list[str]
) -> None:
    steps = plan_rollback(migrations, applied(*there), **limits)

    assert versions(steps) == planned
    assert all(step.direction is Direction.ROLLBACK for step in steps)
    assert all(step.source == f"{step.migration.version}_change/down.sql" for step in steps)
    assert all([one.sql for one in step.statements] == ["SELECT -1"] for step in steps)
    assert all(step.verify == () for step in steps)  # it says what holds after the up script


def test_a_version_under_newer_ones_is_not_rolled_back_alone(migrations: Migrations, applied: Applied) -> None:
    error = refused(VersionConflictError, lambda: plan_rollback(migrations, applied("1", "2", "9", "10"), only="2"))

    assert "9, 10 come after it" in error.message
    assert "--to" in error.hint


@pytest.mark.parametrize("limits", [{"only": "9"}, {"only": "3"}, {"to": "9"}, {"to": "3"}, {}])
def test_what_is_not_applied_is_neither_rolled_back_nor_a_place_to_go_back_to(
    migrations: Migrations, applied: Applied, limits: dict[str, str]
) -> None:
    error = refused(VersionConflictError, lambda: plan_rollback(migrations, applied("1", "2"), **limits))

    assert "is not applied" in error.message


def test_nothing_is_rolled_back_in_an_empty_history(migrations: Migrations) -> None:
    error = refused(VersionConflictError, lambda: plan_rollback(migrations, History(), only="1"))

    assert "nothing" in error.hint


def test_nothing_is_rolled_back_when_one_of_the_down_scripts_is_missing(
    migrations: Migrations, make_migration: MakeMigration, applied: Applied
) -> None:
    without = (*migrations[:2], make_migration("9", down=None), migrations[3])

    error = refused(RollbackFailedError, lambda: plan_rollback(without, applied("1", "2", "9", "10"), to="1"))

    assert error.message == "9 has no down.sql; nothing was rolled back"


def test_nothing_is_rolled_back_when_one_of_the_versions_is_not_on_disk(
    migrations: Migrations, applied: Applied
) -> None:
    error = refused(RollbackFailedError, lambda: plan_rollback(migrations[:2], applied("1", "2", "9"), to="1"))

    assert error.message == "9 is not in the migrations folder; nothing was rolled back"


def test_a_version_below_the_place_to_go_back_to_may_be_missing(migrations: Migrations, applied: Applied) -> None:
    assert versions(plan_rollback(migrations[2:], applied("1", "2", "9", "10"), to="2")) == ["10", "9"]


def test_each_direction_follows_its_own_declaration(make_migration: MakeMigration, applied: Applied) -> None:
    statements = "SELECT 1; SELECT 2;"
    forward = replace(make_migration("1", up=statements, down=statements), in_transaction=False)
    backward = replace(make_migration("1", up=statements, down=statements), down_in_transaction=False)

    def pieces(migration: Migration) -> tuple[int, int]:
        (up,) = plan_apply([migration], History())
        (down,) = plan_rollback([migration], History(rows=(row(migration),)), only="1")
        return len(up.units), len(down.units)

    def row(migration: Migration) -> HistoryRow:
        return replace(applied("1").rows[0], checksum=migration.checksum)

    assert (pieces(forward), pieces(backward)) == ((2, 1), (1, 2))


@pytest.mark.parametrize("down", ["BEGIN; SELECT 1", "SELECT 'open"])
def test_a_down_script_that_cannot_be_run_as_one_is_refused(
    make_migration: MakeMigration, applied: Applied, down: str
) -> None:
    migration = make_migration("1", down=down)

    error = refused(InvalidInputError, lambda: plan_rollback([migration], applied("1"), only="1"))

    assert error.message.startswith("1_change/down.sql:1: ")


@pytest.mark.parametrize("tried_before", [False, True])
def test_a_half_done_version_can_be_rolled_back_as_often_as_it_takes(
    migrations: Migrations,
    make_row: MakeRow,
    *,
    tried_before: bool,
) -> None:
    rows = (make_row(1, "1"), make_row(2, "2", success=False, statements_done=1))
    if tried_before:
        rows += (make_row(3, "2", success=False, direction=Direction.ROLLBACK),)
    history = History(rows=rows)

    assert versions(plan_rollback(migrations, history, only="2")) == ["2"]
    assert versions(plan_rollback(migrations, history, to="1")) == ["2"]
    with pytest.raises(VersionConflictError, match="2 come after it"):
        plan_rollback(migrations, history, only="1")


def test_a_version_that_failed_in_its_transaction_left_nothing_to_roll_back(
    migrations: Migrations, make_row: MakeRow
) -> None:
    history = History(rows=(make_row(1, "1"), make_row(2, "2", success=False)))

    with pytest.raises(VersionConflictError, match="2 is not applied"):
        plan_rollback(migrations, history, only="2")


# --- both ways -----------------------------------------------------------------------------------------------------


@given(count=st.integers(1, 8), data=st.data())
def test_what_an_apply_plans_the_rollback_of_it_plans_backwards(
    make_migration: MakeMigration, make_row: MakeRow, count: int, data: st.DataObject
) -> None:
    on_disk = [make_migration(str(number)) for number in range(1, count + 1)]
    there = data.draw(st.integers(0, count))
    before = History(rows=tuple(make_row(number, str(number)) for number in range(1, there + 1)))

    planned = versions(plan_apply(on_disk, before))

    assert planned == [str(number) for number in range(there + 1, count + 1)]
    after = History(rows=(*before.rows, *(make_row(100 + number, version) for number, version in enumerate(planned))))
    assert plan_apply(on_disk, after) == ()
    if there:
        assert versions(plan_rollback(on_disk, after, to=str(there))) == planned[::-1]
