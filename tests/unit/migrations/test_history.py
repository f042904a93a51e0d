"""What the rows of a history add up to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squizzle.migrations.history import History, row_state
from squizzle.migrations.records import Direction, HistoryRow, RowState

APPLY, ROLLBACK = Direction.APPLY, Direction.ROLLBACK
MakeRow = Callable[..., HistoryRow]


def history_of(make_row: MakeRow, *steps: tuple[str, Direction, bool | None]) -> History:
    return History(
        rows=tuple(
            make_row(number, version, direction=direction, success=success)
            for number, (version, direction, success) in enumerate(steps, 1)
        )
    )


@pytest.mark.parametrize(
    ("direction", "success", "state"),
    [
        (APPLY, True, RowState.APPLIED),
        (ROLLBACK, True, RowState.ROLLED_BACK),
        (APPLY, False, RowState.FAILED),
        (ROLLBACK, False, RowState.FAILED),
        (APPLY, None, RowState.RUNNING),
        (ROLLBACK, None, RowState.RUNNING),
    ],
)
def test_a_row_says_one_of_four_things(
    make_row: MakeRow,
    direction: Direction,
    *,
    success: bool | None,
    state: RowState,
) -> None:
    assert row_state(make_row(1, "1", direction=direction, success=success)) is state


DIED = "the run that did this died before it ended; 2 statements outside a transaction had finished"


@pytest.mark.parametrize(
    ("steps", "interrupted"),
    [
        ([(APPLY, None, None)], {APPLY}),
        ([(APPLY, False, DIED)], {APPLY}),
        ([(APPLY, False, "syntax error")], set()),
        # What fails afterwards does not tell that the statement of the dead run had not finished.
        ([(APPLY, False, DIED), (APPLY, False, "syntax error")], {APPLY}),
        ([(APPLY, False, DIED), (APPLY, True, None)], set()),
        ([(APPLY, True, None), (ROLLBACK, False, DIED)], {ROLLBACK}),
        ([(APPLY, False, DIED), (ROLLBACK, True, None)], set()),
    ],
)
def test_a_script_is_interrupted_until_it_succeeds_when_its_run_died(
    make_row: MakeRow, steps: list[tuple[Direction, bool | None, str | None]], interrupted: set[Direction]
) -> None:
    rows = tuple(
        replace(make_row(number, "1", direction=direction, success=success), error=error)
        for number, (direction, success, error) in enumerate(steps, 1)
    )

    assert {one for one in Direction if History(rows=rows).interrupted(one)} == interrupted


def test_an_empty_history_has_nothing() -> None:
    history = History()

    assert history.applied() == {}
    assert history.current is None
    assert history.schema_digest is None
    assert history.half_done() == {}
    assert all(history.in_state(state) == () for state in RowState)


def test_what_was_applied_is_applied_in_the_order_of_versions(make_row: MakeRow) -> None:
    history = history_of(make_row, ("10", APPLY, True), ("9", APPLY, True), ("1.10", APPLY, True), ("1.9", APPLY, True))

    assert list(history.applied()) == ["1.9", "1.10", "9", "10"]
    assert history.current == "10"


def test_what_was_rolled_back_is_not_applied(make_row: MakeRow) -> None:
    history = history_of(make_row, ("1", APPLY, True), ("2", APPLY, True), ("2", ROLLBACK, True))

    assert list(history.applied()) == ["1"]
    assert history.current == "1"
    assert [row.version for row in history.in_state(RowState.ROLLED_BACK)] == ["2"]


def test_what_was_applied_again_is_applied_by_its_last_row(make_row: MakeRow) -> None:
    history = history_of(make_row, ("1", APPLY, True), ("1", ROLLBACK, True), ("1", APPLY, True))

    assert history.applied()["1"].id == 3
    assert history.in_state(RowState.ROLLED_BACK) == ()


@pytest.mark.parametrize("success", [False, None], ids=["failed", "died"])
def test_a_rollback_that_did_not_succeed_keeps_the_version_applied(
    make_row: MakeRow,
    *,
    success: bool | None,
) -> None:
    history = history_of(make_row, ("1", APPLY, True), ("2", APPLY, True), ("2", ROLLBACK, success))

    assert list(history.applied()) == ["1", "2"]
    assert history.applied()["2"].id == 2
    assert history.current == "2"


@pytest.mark.parametrize("success", [False, None], ids=["failed", "died"])
def test_an_apply_that_did_not_succeed_applied_nothing(make_row: MakeRow, *, success: bool | None) -> None:
    history = history_of(make_row, ("1", APPLY, True), ("2", APPLY, success))

    assert list(history.applied()) == ["1"]
    assert history.current == "1"


def test_a_failure_is_forgotten_when_the_next_try_succeeds(make_row: MakeRow) -> None:
    history = history_of(make_row, ("1", APPLY, False), ("2", APPLY, False), ("1", APPLY, True))

    assert [row.version for row in history.in_state(RowState.FAILED)] == ["2"]
    assert [row.version for row in history.in_state(RowState.APPLIED)] == ["1"]


def test_the_newest_row_of_each_version_counts(make_row: MakeRow) -> None:
    history = history_of(make_row, ("2", APPLY, False), ("1", APPLY, True), ("2", APPLY, None))

    assert [(version, row.id) for version, row in history.newest().items()] == [("1", 2), ("2", 3)]
    assert [row.id for row in history.in_state(RowState.RUNNING)] == [3]


def test_the_schema_digest_is_the_one_recorded_last(make_row: MakeRow) -> None:
    rows = (
        make_row(1, "1", schema_digest="old"),
        make_row(2, "2", schema_digest="new"),
        make_row(3, "3"),
        make_row(4, "4", success=False, schema_digest="of a run that failed"),
    )

    assert History(rows=rows).schema_digest == "new"


def test_a_script_outside_a_transaction_that_failed_left_its_version_half_done(make_row: MakeRow) -> None:
    rows = (
        make_row(1, "1", success=False, statements_done=0),
        make_row(2, "2", success=False, statements_done=2),
        make_row(3, "3", success=None, statements_done=1),  # its run died
        make_row(4, "4", success=True, statements_done=3),
    )

    half_done = History(rows=rows).half_done()

    assert {version: row.statements_done for version, row in half_done.items()} == {"2": 2, "3": 1}


@pytest.mark.parametrize(
    ("steps", "done"),
    [
        ([(APPLY, False, 1), (APPLY, False, 2)], 2),  # the second try came further
        ([(APPLY, False, 2), (APPLY, False, 0)], 2),  # rows of an older release counted from zero again
        ([(APPLY, False, 2), (ROLLBACK, False, 0)], 2),  # the way back failed, so it is still half done
        ([(APPLY, False, 2), (ROLLBACK, None, 1)], 2),
        ([(APPLY, False, 2), (APPLY, True, 3)], None),
        ([(APPLY, False, 2), (ROLLBACK, True, 1)], None),
        ([(APPLY, False, 2), (ROLLBACK, True, 0), (APPLY, False, 1)], 1),
        ([(APPLY, True, 0), (ROLLBACK, False, 1)], None),  # applied, which is more than half done
    ],
)
def test_a_version_is_half_done_until_an_apply_or_a_rollback_succeeds(
    make_row: MakeRow, steps: list[tuple[Direction, bool | None, int]], done: int | None
) -> None:
    history = History(
        rows=tuple(
            make_row(number, "1", direction=direction, success=success, statements_done=count)
            for number, (direction, success, count) in enumerate(steps, 1)
        )
    )

    assert {version: row.statements_done for version, row in history.half_done().items()} == (
        {} if done is None else {"1": done}
    )


steps = st.lists(
    st.tuples(
        st.sampled_from(["1", "2", "10"]), st.sampled_from([APPLY, ROLLBACK]), st.sampled_from([True, False, None])
    ),
    max_size=12,
)


@given(steps=steps)
def test_a_version_is_applied_exactly_when_its_last_success_was_an_apply(
    make_row: MakeRow, steps: list[tuple[str, Direction, bool | None]]
) -> None:
    last_success = {version: direction for version, direction, success in steps if success}

    history = history_of(make_row, *steps)

    applied = sorted((version for version, direction in last_success.items() if direction is APPLY), key=int)
    assert list(history.applied()) == applied
    assert history.current == (applied[-1] if applied else None)
    assert sum(len(history.in_state(state)) for state in RowState) == len({version for version, _, _ in steps})
