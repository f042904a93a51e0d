"""How a script is divided into pieces that happen wholly or not at all."""

from __future__ import annotations

import pytest

from squizzle.analysis.statements import split_statements
from squizzle.errors import InvalidInputError
from squizzle.migrations.units import Unit, divide, remaining


def units_of(script: str, *, declared: bool | None = None) -> tuple[Unit, ...]:
    return divide(split_statements(script, source="up.sql"), declared=declared, source="up.sql")


def shape(units: tuple[Unit, ...]) -> list[tuple[list[str], bool, int]]:
    return [([one.sql for one in unit.statements], unit.transactional, unit.ends_at) for unit in units]


def test_a_plain_script_is_one_transaction() -> None:
    assert shape(units_of("SELECT 1; SELECT 2;")) == [(["SELECT 1", "SELECT 2"], True, 2)]


def test_an_empty_script_has_no_piece() -> None:
    assert units_of("-- nothing yet") == ()


def test_a_statement_that_refuses_transactions_stands_alone_between_transactions() -> None:
    assert shape(units_of("SELECT 1; SELECT 2; VACUUM t; SELECT 3")) == [
        (["SELECT 1", "SELECT 2"], True, 2),
        (["VACUUM t"], False, 3),
        (["SELECT 3"], True, 4),
    ]


def test_an_enum_value_that_is_used_later_is_committed_first() -> None:
    script = "ALTER TYPE s ADD VALUE 'it''s'; SELECT 1; UPDATE t SET s = 'it''s'"

    assert [len(unit.statements) for unit in units_of(script)] == [1, 2]


def test_an_enum_value_that_is_used_in_a_function_body_is_committed_first() -> None:
    script = "ALTER TYPE s ADD VALUE 'new' AFTER 'old'; DO $$ BEGIN UPDATE t SET s = 'new'; END $$"

    assert [len(unit.statements) for unit in units_of(script)] == [1, 1]


@pytest.mark.parametrize(
    "script",
    [
        "ALTER TYPE s ADD VALUE 'new'; SELECT 1",
        "ALTER TYPE s ADD VALUE 'a'; ALTER TYPE s ADD VALUE 'b'",
        "UPDATE t SET s = 'new'; ALTER TYPE s ADD VALUE 'new'",
        "ALTER TYPE s RENAME VALUE 'a' TO 'b'; UPDATE t SET s = 'b'",
    ],
)
def test_an_enum_value_that_is_not_used_later_needs_no_commit(script: str) -> None:
    assert len(units_of(script)) == 1


@pytest.mark.parametrize("begin", ["BEGIN", "BEGIN WORK", "START TRANSACTION", "begin transaction"])
@pytest.mark.parametrize("commit", ["COMMIT", "END", "commit work"])
def test_a_script_in_its_own_transaction_is_one_piece_without_nesting(begin: str, commit: str) -> None:
    assert shape(units_of(f"{begin}; SELECT 1; SELECT 2; {commit};")) == [(["SELECT 1", "SELECT 2"], True, 2)]


def test_several_transactions_of_a_script_are_pieces_and_the_rest_runs_by_itself() -> None:
    script = (
        "SELECT 0; BEGIN; SELECT 1; SELECT 2; COMMIT; CREATE INDEX CONCURRENTLY i ON t (a); BEGIN; SELECT 3; COMMIT"
    )

    assert shape(units_of(script)) == [
        (["SELECT 0"], True, 1),
        (["SELECT 1", "SELECT 2"], True, 3),
        (["CREATE INDEX CONCURRENTLY i ON t (a)"], False, 4),
        (["SELECT 3"], True, 5),
    ]


def test_options_behind_begin_are_kept() -> None:
    (unit,) = units_of("BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE; SELECT 1; COMMIT")

    assert unit.options == "ISOLATION LEVEL SERIALIZABLE"


def test_a_comment_behind_begin_is_no_option() -> None:
    (unit,) = units_of("BEGIN -- all of it\n WORK /* really */ READ WRITE; SELECT 1; COMMIT")

    assert (unit.options, unit.begun) == ("READ WRITE", True)


@pytest.mark.parametrize(
    ("done", "left"),
    [(0, [["1", "2"], ["VACUUM t"], ["4"]]), (1, [["2"], ["VACUUM t"], ["4"]]), (2, [["VACUUM t"], ["4"]]), (4, [])],
)
def test_what_is_left_of_a_script_begins_behind_the_statements_that_are_finished(
    done: int, left: list[list[str]]
) -> None:
    units = remaining(units_of("SELECT 1; SELECT 2; VACUUM t; SELECT 4"), done)

    assert [[one.sql.removeprefix("SELECT ") for one in unit.statements] for unit in units] == left


def test_who_declares_no_transaction_gets_each_statement_by_itself() -> None:
    assert [len(unit.statements) for unit in units_of("SELECT 1; SELECT 2", declared=False)] == [1, 1]


@pytest.mark.parametrize(
    ("script", "line"),
    [
        ("SELECT 1;\nBEGIN;\nSELECT 2;", 2),
        ("BEGIN;\nSELECT 1;\nROLLBACK;", 3),
        ("BEGIN;\nVACUUM t;\nCOMMIT;", 2),
        ("SELECT 1;\nPREPARE TRANSACTION 'x';", 2),
        ("BEGIN;\nSELECT 1;\nCOMMIT AND CHAIN;", 3),
    ],
)
def test_what_would_leave_a_transaction_open_or_undone_is_refused_with_its_line(script: str, line: int) -> None:
    with pytest.raises(InvalidInputError, match=rf"^up\.sql:{line}: ") as caught:
        units_of(script)
    assert caught.value.hint
