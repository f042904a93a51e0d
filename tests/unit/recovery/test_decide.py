"""Which way back is taken, for every combination of facts."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from squizzle.backups.records import Backup
from squizzle.proof.records import Comparison, TableComparison
from squizzle.recovery.assess import Assessment
from squizzle.recovery.decide import RollbackAttempt, Way, decide_recovery

DAMAGE = "public.users: 1,500 of 1,500 rows are gone"

ATTEMPTS = {
    "not tried": None,
    "brought everything back": RollbackAttempt(versions=("0013",), error="", remaining=()),
    "failed": RollbackAttempt(versions=("0013",), error="relation users does not exist", remaining=()),
    "left damage": RollbackAttempt(versions=("0013",), error="", remaining=(DAMAGE,)),
    "failed and left damage": RollbackAttempt(versions=("0013",), error="no such table", remaining=(DAMAGE,)),
}


def assess(comparison: Comparison, *, damaged: bool, later: bool) -> Assessment:
    lost = TableComparison(table="public.users", expected_rows=1500, found_rows=None, equal=False)
    return Assessment(
        since="20250301T120000Z-shop-abcdef",
        since_version="0012",
        current="0013" if later else "0012",
        applied_since=("0013",) if later else (),
        failed=(),
        comparison=replace(comparison, tables=(lost,)) if damaged else comparison,
    )


def way_back(*, damaged: bool, later: bool, attempt: str, has_down: bool, has_backup: bool) -> Way:
    """The runbook, in words: leave a good database alone; try the cheap way once; then the backup; else nothing."""
    if not damaged and not later:
        return Way.NOTHING_TO_DO
    if attempt == "brought everything back":
        return Way.NOTHING_TO_DO
    if attempt == "not tried" and later and has_down:
        return Way.ROLL_BACK
    return Way.RESTORE_BESIDE if has_backup else Way.NONE_LEFT


COMBINATIONS = list(product([True, False], [True, False], ATTEMPTS, [True, False], [True, False]))


def test_the_cheapest_way_that_is_left_is_taken(equal_comparison: Comparison, backup: Backup) -> None:
    for damaged, later, attempt, has_down, has_backup in COMBINATIONS:
        decision = decide_recovery(
            assess(equal_comparison, damaged=damaged, later=later),
            rollback=ATTEMPTS[attempt],
            has_down_scripts=has_down,
            backup=backup if has_backup else None,
        )

        facts = {"damaged": damaged, "later": later, "attempt": attempt, "down": has_down, "backup": has_backup}
        expected = way_back(damaged=damaged, later=later, attempt=attempt, has_down=has_down, has_backup=has_backup)
        assert decision.way is expected, facts
        assert decision.reason, facts


def test_every_way_is_reached_by_some_facts() -> None:
    reached = {way_back(damaged=a, later=b, attempt=c, has_down=d, has_backup=e) for a, b, c, d, e in COMBINATIONS}

    assert reached == set(Way)


@pytest.mark.parametrize(
    ("attempt", "later", "reason"),
    [
        ("not tried", True, "no down script can be run"),
        ("failed", True, "the down script failed (relation users does not exist)"),
        ("left damage", True, f"did not bring the data back ({DAMAGE})"),
    ],
)
def test_the_reason_for_a_restore_says_what_was_tried(
    equal_comparison: Comparison,
    backup: Backup,
    attempt: str,
    *,
    later: bool,
    reason: str,
) -> None:
    decision = decide_recovery(
        assess(equal_comparison, damaged=True, later=later),
        rollback=ATTEMPTS[attempt],
        has_down_scripts=False,
        backup=backup,
    )

    assert decision.way is Way.RESTORE_BESIDE
    assert reason in decision.reason


@pytest.mark.parametrize(
    ("attempt", "brought_back"),
    [("brought everything back", True), ("failed", False), ("left damage", False), ("failed and left damage", False)],
)
def test_a_rollback_brought_back_only_what_has_neither_error_nor_damage(attempt: str, *, brought_back: bool) -> None:
    found = ATTEMPTS[attempt]

    assert found is not None
    assert found.brought_back is brought_back


# --- what counts as damage -----------------------------------------------------------------------------------------


def damage_of(comparison: Comparison) -> tuple[str, ...]:
    assessment = Assessment(
        since="b", since_version="0012", current="0012", applied_since=(), failed=(), comparison=comparison
    )
    return assessment.damage


@pytest.mark.parametrize(
    ("found_rows", "damage"),
    [
        (None, ("public.users: 1,500 of 1,500 rows are gone",)),
        (0, ("public.users: 1,500 of 1,500 rows are gone",)),
        (1499, ("public.users: 1 of 1,500 rows are gone",)),
        (1500, ()),
        (1600, ()),  # what clients wrote since the backup
    ],
)
def test_rows_that_are_gone_are_damage(
    equal_comparison: Comparison, found_rows: int | None, damage: tuple[str, ...]
) -> None:
    table = TableComparison(table="public.users", expected_rows=1500, found_rows=found_rows, equal=False)

    assert damage_of(replace(equal_comparison, tables=(table,))) == damage


def test_objects_that_are_gone_or_changed_are_damage_and_new_ones_are_not(equal_comparison: Comparison) -> None:
    comparison = replace(
        equal_comparison, missing=("table public.users",), changed=("view public.v",), unexpected=("table public.new",)
    )

    assert damage_of(comparison) == ("missing: table public.users", "changed: view public.v")
