"""What scripts tell about tables, and what a rule makes of it."""

from __future__ import annotations

import pytest

from squizzle.analysis.known import Known
from squizzle.analysis.locks.records import RelationName
from squizzle.analysis.statements import split_statements
from squizzle.analysis.summary import summarize

T = RelationName(name="t")
MADE = "CREATE TABLE t (a int PRIMARY KEY, b varchar(5), c int REFERENCES s.u CHECK (c > 0), UNIQUE (b, c));"


def known_after(script: str) -> Known:
    known = Known()
    for statement in split_statements(script, source="case"):
        known.learn(summarize(statement).actions)
    return known


def test_a_table_is_known_as_it_was_made_with_the_names_that_postgresql_gives() -> None:
    table = known_after(MADE).table(T)
    assert table.created
    assert table.has_primary_key
    assert set(table.constraints) == {"t_pkey", "t_b_c_key", "t_c_fkey", "t_c_check"}
    assert [table.is_not_null(column) for column in "abc"] == [True, False, False]
    assert [table.leads_an_index(column) for column in "abc"] == [True, True, False]
    assert str(table.type_of("b")) == "varchar(5)"
    assert table.type_of("nothing") is None


@pytest.mark.parametrize(
    ("change", "column", "type_name", "not_null"),
    [
        ("ALTER TABLE t ALTER b TYPE text", "b", "text", False),
        ("ALTER TABLE t ALTER b SET NOT NULL", "b", "varchar(5)", True),
        ("ALTER TABLE t ALTER b SET NOT NULL; ALTER TABLE t ALTER b DROP NOT NULL", "b", "varchar(5)", False),
        ("ALTER TABLE t ADD CONSTRAINT n CHECK (b IS NOT NULL) NOT VALID", "b", "varchar(5)", False),
        (
            "ALTER TABLE t ADD CONSTRAINT n CHECK (b IS NOT NULL) NOT VALID; ALTER TABLE t VALIDATE CONSTRAINT n",
            "b",
            "varchar(5)",
            True,
        ),
        ("ALTER TABLE t ADD CHECK (b IS NOT NULL OR c = 1)", "b", "varchar(5)", False),
        ("ALTER TABLE t ADD COLUMN d text NOT NULL", "d", "text", True),
        ("ALTER TABLE t RENAME b TO d", "d", "varchar(5)", False),
        ("ALTER TABLE t DROP COLUMN b", "b", "None", False),
    ],
)
def test_a_column_is_known_as_it_was_changed(change: str, column: str, type_name: str, *, not_null: bool) -> None:
    table = known_after(f"{MADE} {change}").table(T)
    assert str(table.type_of(column)) == type_name
    assert table.is_not_null(column) is not_null


def test_a_table_is_followed_when_it_is_called_or_placed_elsewhere() -> None:
    known = known_after(f"{MADE} ALTER TABLE t RENAME TO u; ALTER TABLE u SET SCHEMA s")
    assert not known.table(T).created
    assert known.table(RelationName(schema="s", name="u")).has_primary_key


def test_tables_of_two_schemas_are_kept_apart() -> None:
    known = known_after("CREATE TABLE a.t (x int); CREATE TABLE b.t (y int);")
    assert set(known.table(RelationName(schema="a", name="t")).columns) == {"x"}
    assert set(known.table(RelationName(schema="b", name="t")).columns) == {"y"}
    assert not known.table(T).created
    assert not known.table(RelationName(schema="c", name="t")).created


def test_partitions_indexes_policies_and_views_are_known() -> None:
    known = known_after(
        "CREATE TABLE t (a int) PARTITION BY LIST (a); CREATE TABLE p1 PARTITION OF t DEFAULT; CREATE TABLE p2 (a int);"
        "ALTER TABLE t ATTACH PARTITION p2 DEFAULT; ALTER TABLE t DETACH PARTITION p1; CREATE INDEX i ON t (a);"
        "CREATE POLICY y ON t; CREATE VIEW v AS SELECT 1"
    )
    assert known.table(T).is_partitioned
    assert known.partitions_of(T) == (RelationName(name="p2"),)
    assert known.table_of(RelationName(name="i")) == T
    assert known.table(T).policies == {"y"}
    assert known.has_view(RelationName(name="v"))


def test_what_is_dropped_is_known_no_longer() -> None:
    known = known_after(
        f"{MADE} CREATE INDEX i ON t (c); DROP INDEX i; CREATE POLICY y ON t; DROP POLICY y ON t;"
        "ALTER TABLE t DROP CONSTRAINT t_pkey"
    )
    assert not known.table(T).leads_an_index("c")
    assert known.table_of(RelationName(name="i")) == RelationName(name="i")
    assert not known.table(T).policies
    assert not known.table(T).has_primary_key
    assert not known_after(f"{MADE} DROP TABLE t").table(T).created
