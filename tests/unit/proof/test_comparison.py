"""In which ways two fingerprints differ, and how that is said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from squizzle.proof.comparison import compare_digests
from squizzle.proof.records import (
    Comparison,
    DatabaseDigest,
    SchemaDigest,
    SchemaMatch,
    SchemaObject,
    TableComparison,
    TableDigest,
)


def thing(kind: str, name: str, parent: str = "", strict: str = "s", logical: str = "l") -> SchemaObject:
    return SchemaObject(kind=kind, name=name, parent=parent, strict=strict, logical=logical)


USERS = (
    thing("table", "public.users"),
    thing("column", "public.users.id", "public.users"),
    thing("column", "public.users.email", "public.users"),
    thing("constraint", "public.users.users_pkey", "public.users"),
    thing("constraint state", "public.users.users_pkey", "public.users"),
    thing("index", "public.users_pkey", "public.users"),
    thing("index state", "public.users_pkey", "public.users"),
)
ORDERS = (thing("table", "public.orders"), thing("column", "public.orders.id", "public.orders"))
ROWS = (
    TableDigest(table="public.orders", rows=20, digest="200"),
    TableDigest(table="public.users", rows=1500, digest="100"),
)


def digest(
    *objects: SchemaObject,
    tables: tuple[TableDigest, ...] = ROWS,
    sequences: Mapping[str, int | None] | None = None,
) -> DatabaseDigest:
    schema = SchemaDigest(
        strict=" ".join(f"{one.kind} {one.name} {one.strict}" for one in objects),
        logical=" ".join(f"{one.kind} {one.name} {one.logical}" for one in objects),
        objects=objects,
    )
    return DatabaseDigest(schema=schema, tables=tables, sequences=sequences or {})


SAVED = digest(*USERS, *ORDERS)


def without(*gone: SchemaObject) -> DatabaseDigest:
    return digest(*(one for one in SAVED.schema.objects if one not in gone))


def test_equal_fingerprints_have_no_differences() -> None:
    comparison = compare_digests(SAVED, SAVED)

    assert comparison.is_equal
    assert comparison.schema is SchemaMatch.EXACT
    assert comparison.sentences() == ()
    assert comparison.different_tables == ()
    assert [(one.table, one.expected_rows, one.found_rows) for one in comparison.tables] == [
        ("public.orders", 20, 20),
        ("public.users", 1500, 1500),
    ]


def test_a_table_that_is_gone_is_said_once_and_not_column_by_column() -> None:
    comparison = compare_digests(SAVED, replace(without(*USERS), tables=ROWS[:1]))

    assert not comparison.is_equal
    assert comparison.missing == ("table public.users",)
    assert comparison.sentences() == ("public.users: not there, expected 1,500 rows", "missing: table public.users")


def test_a_table_that_is_new_is_said_once_and_not_column_by_column() -> None:
    comparison = compare_digests(replace(without(*USERS), tables=ROWS[:1]), SAVED)

    assert not comparison.is_equal
    assert comparison.unexpected == ("table public.users",)
    assert comparison.sentences() == ("public.users: 1,500 rows, expected not there", "unexpected: table public.users")


def test_a_column_or_an_index_that_is_gone_is_named_and_its_state_says_nothing_more() -> None:
    comparison = compare_digests(SAVED, without(USERS[2], USERS[5], USERS[6]))

    assert comparison.missing == ("column public.users.email", "index public.users_pkey")
    assert comparison.schema is SchemaMatch.DIFFERENT
    assert not comparison.is_equal


@pytest.mark.parametrize("changed", [*USERS, *ORDERS], ids=lambda one: one.label)
def test_an_object_that_is_defined_otherwise_is_named(changed: SchemaObject) -> None:
    objects = [replace(one, strict="x", logical="x") if one == changed else one for one in SAVED.schema.objects]

    comparison = compare_digests(SAVED, digest(*objects))

    assert comparison.changed == (changed.label,)
    assert comparison.sentences() == (f"changed: {changed.label}",)
    assert comparison.schema is SchemaMatch.DIFFERENT
    assert not comparison.is_equal


def test_only_another_order_of_columns_is_the_same_schema_logically() -> None:
    objects = [replace(one, strict="another place") if one.kind == "column" else one for one in SAVED.schema.objects]

    comparison = compare_digests(SAVED, digest(*objects))

    assert comparison.schema is SchemaMatch.LOGICAL
    assert comparison.is_equal
    assert comparison.sentences() == ()


@pytest.mark.parametrize(
    ("rows", "content", "sentence", "lost"),
    [
        (1499, "99", "public.users: 1,499 rows, expected 1,500 rows", 1),
        (0, "0", "public.users: 0 rows, expected 1,500 rows", 1500),
        (1501, "101", "public.users: 1,501 rows, expected 1,500 rows", 0),
        (1500, "101", "public.users: 1,500 rows, but not the same ones", 0),
    ],
)
def test_rows_that_differ_are_counted(rows: int, content: str, sentence: str, lost: int) -> None:
    found = replace(SAVED, tables=(ROWS[0], TableDigest(table="public.users", rows=rows, digest=content)))

    comparison = compare_digests(SAVED, found)

    assert not comparison.is_equal
    assert comparison.schema is SchemaMatch.EXACT
    assert comparison.sentences() == (sentence,)
    assert [one.missing_rows for one in comparison.different_tables] == [lost]


def test_a_table_that_is_not_there_misses_all_its_rows() -> None:
    comparison = compare_digests(SAVED, replace(SAVED, tables=ROWS[:1]))

    assert [(one.found_rows, one.missing_rows) for one in comparison.different_tables] == [(None, 1500)]
    assert not comparison.is_equal


@pytest.mark.parametrize(
    ("expected", "found", "behind"),
    [
        ({"s": 10}, {"s": 10}, ()),
        ({"s": 10}, {"s": 11}, ()),  # a gap in numbers harms nobody
        ({"s": None}, {"s": None}, ()),
        ({"s": None}, {"s": 5}, ()),
        ({}, {"s": 5}, ()),
        ({"s": 10}, {"s": 9}, ("s stands at 9, expected at least 10",)),
        ({"s": 10}, {"s": None}, ("s stands at None, expected at least 10",)),
        ({"s": 10}, {}, ("s is not there",)),
        ({"s": None}, {}, ("s is not there",)),
        ({"b": 2, "a": 1}, {}, ("a is not there", "b is not there")),
    ],
)
def test_a_sequence_must_not_stand_lower_than_saved(
    expected: dict[str, int | None], found: dict[str, int | None], behind: tuple[str, ...]
) -> None:
    comparison = compare_digests(digest(sequences=expected), digest(sequences=found))

    assert comparison.sequences == behind
    assert comparison.is_equal is (behind == ())
    assert comparison.sentences() == tuple(f"sequence behind: {text}" for text in behind)


def test_the_worst_comes_first() -> None:
    broken = digest(
        *(replace(one, logical="x") if one == USERS[3] else one for one in USERS if one != USERS[1]),
        thing("view", "public.extra"),
        *ORDERS,
        tables=(ROWS[0],),
        sequences={"s": 1},
    )

    kinds = [
        sentence.split(":")[0] for sentence in compare_digests(replace(SAVED, sequences={"s": 2}), broken).sentences()
    ]

    assert kinds == ["public.users", "missing", "changed", "unexpected", "sequence behind"]


def test_what_is_not_equal_is_never_without_a_sentence() -> None:
    # Two fingerprints may differ in something that has no name of its own, such as the triggers behind foreign keys.
    nameless = thing("constraint triggers", "public.orders", "public.orders")

    for expected, found in (
        (SAVED, digest(*SAVED.schema.objects, nameless)),
        (digest(*USERS, *ORDERS, nameless), SAVED),
    ):
        comparison = compare_digests(expected, found)
        assert comparison.schema is SchemaMatch.DIFFERENT
        assert not comparison.is_equal
        assert comparison.sentences()


EQUAL = Comparison(
    schema=SchemaMatch.EXACT,
    missing=(),
    changed=(),
    unexpected=(),
    tables=(TableComparison(table="t", expected_rows=1, found_rows=1, equal=True),),
    sequences=(),
)


@pytest.mark.parametrize(
    ("comparison", "equal"),
    [
        (EQUAL, True),
        (replace(EQUAL, schema=SchemaMatch.LOGICAL), True),
        (replace(EQUAL, schema=SchemaMatch.DIFFERENT), False),
        (replace(EQUAL, tables=(TableComparison(table="t", expected_rows=1, found_rows=1, equal=False),)), False),
        (replace(EQUAL, sequences=("s is not there",)), False),
    ],
)
def test_equal_is_the_same_meaning_the_same_rows_and_no_sequence_behind(comparison: Comparison, *, equal: bool) -> None:
    assert comparison.is_equal is equal
    assert bool(comparison.sentences()) is not equal
