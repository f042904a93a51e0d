"""Repeatable migrations: last, again when their text has changed, outside of the order, and without a way back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from squizzle.errors import ChecksumMismatchError, RollbackFailedError
from squizzle.migrations.history import History
from squizzle.migrations.planning import plan_apply, plan_rollback
from squizzle.migrations.records import HistoryRow, Migration, PlannedMigration
from squizzle.migrations.status import pending
from squizzle.migrations.versions import repeatable_version

MakeMigration = Callable[..., Migration]
MakeRow = Callable[..., HistoryRow]

VIEW = repeatable_version("view")
ZONE = repeatable_version("zone")
NEW_TEXT = "SELECT 2; SELECT 3;"


@pytest.fixture
def migrations(make_migration: MakeMigration) -> tuple[Migration, ...]:
    return tuple(make_migration(version) for version in ("1", "2", VIEW, ZONE))


@pytest.fixture
def changed(migrations: tuple[Migration, ...], make_migration: MakeMigration) -> tuple[Migration, ...]:
    """The same with another text of the view."""
    return (*migrations[:2], make_migration(VIEW, up=NEW_TEXT), migrations[3])


@pytest.fixture
def everything(make_row: MakeRow) -> History:
    return History(rows=tuple(make_row(number, one) for number, one in enumerate(("1", "2", VIEW, ZONE), 1)))


def versions(planned: tuple[PlannedMigration, ...]) -> list[str]:
    return [one.migration.version for one in planned]


def test_they_run_last_and_are_done_then(migrations: tuple[Migration, ...], everything: History) -> None:
    assert versions(plan_apply(migrations, History())) == ["1", "2", VIEW, ZONE]
    assert plan_apply(migrations, everything) == ()
    assert pending(migrations, everything) == ()


def test_a_changed_one_is_pending_again_and_no_changed_file(
    changed: tuple[Migration, ...], everything: History
) -> None:
    assert pending(changed, everything) == (changed[2],)
    assert versions(plan_apply(changed, everything)) == [VIEW]
    assert versions(plan_apply(changed, everything, only=VIEW)) == [VIEW]


def test_the_text_that_was_applied_last_counts(
    migrations: tuple[Migration, ...], changed: tuple[Migration, ...], everything: History, make_row: MakeRow
) -> None:
    later = History(rows=(*everything.rows, make_row(9, VIEW, checksum_of=NEW_TEXT)))

    assert plan_apply(changed, later) == ()
    assert versions(plan_apply(migrations, later)) == [VIEW]


def test_a_new_version_is_not_older_than_they_are(
    migrations: tuple[Migration, ...], everything: History, make_migration: MakeMigration
) -> None:
    grown = (*migrations[:2], make_migration("3"), *migrations[2:])

    assert everything.current == "2"
    assert versions(plan_apply(grown, everything)) == ["3"]
    assert versions(plan_apply(grown, everything, only="3")) == ["3"]


def test_they_wait_until_nothing_before_them_is_pending(migrations: tuple[Migration, ...]) -> None:
    assert versions(plan_apply(migrations, History(), to="1")) == ["1"]
    assert versions(plan_apply(migrations, History(), to="2")) == ["1", "2", VIEW, ZONE]
    assert versions(plan_apply(migrations, History(), to=VIEW)) == ["1", "2", VIEW]


def test_one_alone_needs_all_versions_but_none_of_its_kind(
    migrations: tuple[Migration, ...], make_row: MakeRow
) -> None:
    versioned = History(rows=(make_row(1, "1"), make_row(2, "2")))

    assert versions(plan_apply(migrations, versioned, only=ZONE)) == [ZONE]


def test_a_changed_version_is_still_refused_beside_them(migrations: tuple[Migration, ...], everything: History) -> None:
    slipped = (replace(migrations[0], checksum="0" * 64), *migrations[1:])

    with pytest.raises(ChecksumMismatchError, match=r"applied: 1_change"):
        plan_apply(slipped, everything)


def test_a_rollback_leaves_them_alone(migrations: tuple[Migration, ...], everything: History) -> None:
    assert versions(plan_rollback(migrations, everything, only="2")) == ["2"]
    assert versions(plan_rollback(migrations, everything, to="1")) == ["2"]


@pytest.mark.parametrize("limit", ["to", "only"])
def test_there_is_no_way_back_from_one(migrations: tuple[Migration, ...], everything: History, limit: str) -> None:
    with pytest.raises(RollbackFailedError, match="is repeatable, so it has no way back by itself") as caught:
        plan_rollback(migrations, everything, **{limit: VIEW})

    assert f"{VIEW}_change/up.sql" in caught.value.hint


def test_one_that_stopped_half_way_goes_on_unless_its_text_has_changed(
    migrations: tuple[Migration, ...], changed: tuple[Migration, ...], everything: History, make_row: MakeRow
) -> None:
    stopped = make_row(9, VIEW, checksum_of=NEW_TEXT, success=False, statements_done=1)
    history = History(rows=(*everything.rows, stopped))

    (again,) = plan_apply(changed, history)
    assert again.done_before == 1

    (anew,) = plan_apply(migrations, history)  # the text before the change; the database holds half of the other
    assert (anew.migration, anew.done_before) == (migrations[2], 0)
