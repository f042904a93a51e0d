"""Versions that say what they need: what comes before, what comes after, and what people may type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from squizzle.errors import VersionConflictError
from squizzle.migrations.history import History
from squizzle.migrations.lineage import depend_on, full_version, needed_by
from squizzle.migrations.planning import plan_apply, plan_rollback
from squizzle.migrations.programs import Program
from squizzle.migrations.records import HistoryRow, Migration
from squizzle.migrations.units import UnitKind

MakeMigration = Callable[..., Migration]
MakeRow = Callable[..., HistoryRow]


@dataclass(frozen=True)
class NoWayBack:
    """As much of a program as planning asks for."""

    has_way_back: bool = False


@pytest.fixture
def tree(make_migration: MakeMigration) -> tuple[Migration, ...]:
    """1 ← 2a ← 3a, 1 ← 2b, and 4 needs 3a and 2b."""
    needs: dict[str, tuple[str, ...]] = {"1": (), "2a": ("1",), "2b": ("1",), "3a": ("2a",), "4": ("3a", "2b")}
    return tuple(
        replace(make_migration(version), requires=parents, alias=f"rev{version}") for version, parents in needs.items()
    )


def test_what_a_version_needs_is_told_by_itself_or_by_the_order(
    tree: tuple[Migration, ...], make_migration: MakeMigration
) -> None:
    line = [make_migration(version) for version in ("1", "2", "10")]

    assert needed_by("3a", tree) == {"1", "2a"}
    assert needed_by("4", tree) == {"1", "2a", "2b", "3a"}
    assert needed_by("10", line) == {"1", "2"}
    assert depend_on("2a", tree, ["1", "2a", "2b", "3a", "4"]) == {"3a", "4"}
    assert depend_on("2a", tree, ["1", "2a", "2b"]) == set()
    assert depend_on("2", line, ["1", "2", "10"]) == {"10"}


def test_plans_follow_what_versions_need(tree: tuple[Migration, ...], make_row: MakeRow) -> None:
    history = History(rows=tuple(make_row(number, version) for number, version in enumerate(["1", "2a", "3a"])))

    def versions(**chosen: str) -> list[str]:
        return [step.migration.version for step in plan_apply(tree, history, **chosen)]  # type: ignore[arg-type]

    assert versions() == ["2b", "4"]
    assert versions(only="2b") == versions(to="2b") == versions(to="rev2b") == ["2b"]
    with pytest.raises(VersionConflictError, match="2b come before it"):
        versions(only="4")
    assert [step.migration.version for step in plan_rollback(tree, history, to="1")] == ["3a", "2a"]


@pytest.mark.parametrize(
    ("text", "meant"),
    [(None, None), ("2a", "2a"), ("rev2a", "2a"), ("rev3", "3a"), ("rev9", "rev9"), ("r", "r"), ("4", "4")],
)
def test_an_alias_or_its_beginning_means_the_version(
    tree: tuple[Migration, ...], text: str | None, meant: str | None
) -> None:
    assert full_version(text, tree) == meant


def test_a_beginning_of_two_is_refused(tree: tuple[Migration, ...]) -> None:
    with pytest.raises(VersionConflictError, match="more than one version: 2a, 2b"):
        full_version("rev2", tree)


def test_a_program_is_one_piece_and_begins_anew_also_when_it_was_half_done_and_mended(
    make_migration: MakeMigration, make_row: MakeRow
) -> None:
    program: Program = NoWayBack(has_way_back=True)  # type: ignore[assignment]
    migration = replace(make_migration("1", up="", down=None), program=program, requires=())
    history = History(rows=(make_row(1, "1", success=False, statements_done=3, checksum_of="before"),))

    (forward,) = plan_apply([migration], history)
    (back,) = plan_rollback([migration], history, only="1")

    for step in (forward, back):
        assert [unit.kind for unit in step.units] == [UnitKind.PROGRAM]
        assert step.done_before == 3
        assert not step.transactional
