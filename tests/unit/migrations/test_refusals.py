"""How a piece is divided when the server refuses one of its statements in a transaction."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors

from squizzle.analysis.statements import split_statements
from squizzle.migrations.refusals import divide_where_refused
from squizzle.migrations.units import Unit, UnitKind, divide

ACTIVE = errors.ActiveSqlTransaction()
TERMINATION = errors.InvalidTransactionTermination()
ENUM = errors.UnsafeNewEnumValueUsage()


def piece(script: str) -> Unit:
    (unit,) = divide(split_statements(script, source="up.sql"), declared=None, source="up.sql")
    return unit


def shape(units: tuple[Unit, ...]) -> list[tuple[list[str], UnitKind, int]]:
    return [([one.sql for one in unit.statements], unit.kind, unit.ends_at) for unit in units]


def test_what_must_run_outside_of_a_transaction_is_set_apart() -> None:
    unit = piece("SELECT 1; REINDEX TABLE t; SELECT 3; SELECT 4")

    assert shape(divide_where_refused(unit, 1, ACTIVE)) == [
        (["SELECT 1"], UnitKind.TRANSACTION, 1),
        (["REINDEX TABLE t"], UnitKind.ALONE, 2),
        (["SELECT 3", "SELECT 4"], UnitKind.TRANSACTION, 4),
    ]


@pytest.mark.parametrize("script", ["CALL p()", "DO 'BEGIN COMMIT; END'"])
def test_what_commits_is_set_apart(script: str) -> None:
    assert shape(divide_where_refused(piece(script), 0, TERMINATION)) == [([script], UnitKind.ALONE, 1)]


def test_an_enum_value_is_committed_before_the_statement_that_uses_it() -> None:
    unit = piece("ALTER TYPE e ADD VALUE 'a'; SELECT '{a}'::e[]; SELECT 3")

    assert shape(divide_where_refused(unit, 1, ENUM)) == [
        (["ALTER TYPE e ADD VALUE 'a'"], UnitKind.TRANSACTION, 1),
        (["SELECT '{a}'::e[]", "SELECT 3"], UnitKind.TRANSACTION, 3),
    ]


@pytest.mark.parametrize(
    ("script", "refused", "error"),
    [
        ("BEGIN; REINDEX TABLE t; COMMIT", 0, ACTIVE),
        ("SELECT 1; SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", 1, ACTIVE),
        ("SELECT vacuums()", 0, ACTIVE),
        ("SELECT commits()", 0, TERMINATION),
        ("SELECT 'a'::e", 0, ENUM),
        ("VACUUM t", 0, ACTIVE),
        ("SELECT 1; CREATE TABLE t (a int)", 1, errors.DuplicateTable()),
        ("SELECT 1; CREATE TABLE t (a int)", 1, None),
    ],
)
def test_what_dividing_would_not_help_is_left_as_it_is(script: str, refused: int, error: psycopg.Error | None) -> None:
    assert divide_where_refused(piece(script), refused, error) == ()
