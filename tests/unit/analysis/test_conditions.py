"""Conditions that hold for every row, and those that only look so."""

from __future__ import annotations

import pytest

from squizzle.analysis.grammar import parse_statement
from squizzle.analysis.reduce.conditions import always_holds

ALWAYS = [
    "true",
    "1 = 1",
    "1 = 1.0",
    "((1)) = (1)",
    "1 <> 2",
    "2 > 1 AND 'a' <= 'b'",
    "NOT false",
    "NOT (1 = 2)",
    "a OR true",
    "a OR NOT 1 = 2",
    "true AND 1 = 1",
    "id = id",
    "t.id >= t.id",
    "id IS NULL OR id IS NOT NULL",
    "1 IN (2, 1)",
    "3 NOT IN (1, 2) OR 1 IN (1)",
    "true IS TRUE",
    "false IS NOT TRUE",
    "true IS NOT FALSE",
    "1 IS NOT NULL",
    "'yes'::boolean",
    "(SELECT true)",
    "EXISTS (SELECT 1)",
    "CAST('t' AS bool)",
]
NOT_ALWAYS = [
    "a",
    "false",
    "NULL",
    "1 = 2",
    "1 = '1'",
    "1 < '2'",
    "a AND true",
    "a OR false",
    "NOT a",
    "NOT true",
    "id = other",
    "t.id = id",
    "id <> id",
    "id < id",
    "id IS NULL OR other IS NOT NULL",
    "id IS NULL AND id IS NOT NULL",
    "1 IN (2, 3)",
    "1 NOT IN (1)",
    "id IN (1)",
    "a IS TRUE",
    "true IS FALSE",
    "true IS UNKNOWN",
    "1 IS NULL",
    "'no'::boolean",
    "'maybe'::boolean",
    "'1'::integer = 1",
    "random() < 0.5",
    "(SELECT true WHERE a)",
    "(SELECT true LIMIT 0)",
    "EXISTS (SELECT 1 FROM u)",
    "EXISTS (SELECT 1 UNION SELECT 2)",
    "1 = ANY (ARRAY[2])",
    "0xFFFFFFFFFF > 1",
]


def condition(text: str) -> object:
    tree = parse_statement("SELECT WHERE " + text)
    assert tree is not None
    return tree.select_stmt.where_clause


@pytest.mark.parametrize("text", ALWAYS)
def test_it_holds_for_every_row(text: str) -> None:
    assert always_holds(condition(text))


@pytest.mark.parametrize("text", NOT_ALWAYS)
def test_it_may_choose_rows(text: str) -> None:
    assert not always_holds(condition(text))
