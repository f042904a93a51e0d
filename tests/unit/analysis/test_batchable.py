"""Where the range goes in a statement, and which statements may not be run in ranges."""

# ruff: noqa: S608 - statements are what these tests are about

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squizzle.analysis.batchable import BatchShape, TableName, Verb, read_shape
from squizzle.analysis.records import BatchOptions
from squizzle.analysis.statements import split_statements
from squizzle.errors import InvalidInputError

RANGE = "t.id > 5"


def shape_of(sql: str, *, key: Sequence[str] = ("id",), own: bool = False) -> BatchShape:
    return read_shape(sql, BatchOptions(key=tuple(key), reads_own_table=own), where="up.sql:1")


def limited(sql: str) -> str:
    return " ".join(shape_of(sql).limited_to(RANGE).split())


# --- where the range goes ------------------------------------------------------------------------------------------

REWRITTEN = {
    "no condition": ("UPDATE t SET a = 1", f"UPDATE t SET a = 1 WHERE ({RANGE})"),
    "an OR": (
        "DELETE FROM t WHERE a = 1 OR b IS NULL",
        f"DELETE FROM t WHERE ({RANGE}) AND ( a = 1 OR b IS NULL )",
    ),
    "a join": (
        "UPDATE t SET a = s.a FROM s JOIN u USING (x) WHERE s.id = t.id",
        f"UPDATE t SET a = s.a FROM s JOIN u USING (x) WHERE ({RANGE}) AND ( s.id = t.id )",
    ),
    "RETURNING": (
        "DELETE FROM t USING s WHERE s.id = t.id RETURNING t.id",
        f"DELETE FROM t USING s WHERE ({RANGE}) AND ( s.id = t.id ) RETURNING t.id",
    ),
    "RETURNING without a condition": ("DELETE FROM t RETURNING id", f"DELETE FROM t WHERE ({RANGE}) RETURNING id"),
    "a subquery with a condition of its own": (
        "UPDATE t SET a = (SELECT max(s.a) FROM s WHERE s.t = t.id)",
        f"UPDATE t SET a = (SELECT max(s.a) FROM s WHERE s.t = t.id) WHERE ({RANGE})",
    ),
    "a column called where": (
        "UPDATE t SET a = s.where FROM s WHERE true",
        f"UPDATE t SET a = s.where FROM s WHERE ({RANGE}) AND ( true )",
    ),
    "WITH": (
        "WITH s AS (SELECT 1 AS id WHERE true) UPDATE t SET a = 1 FROM s WHERE s.id = t.id",
        f"WITH s AS (SELECT 1 AS id WHERE true) UPDATE t SET a = 1 FROM s WHERE ({RANGE}) AND ( s.id = t.id )",
    ),
    "INSERT": ("INSERT INTO u (a) SELECT t.a FROM t", f"INSERT INTO u (a) SELECT t.a FROM t WHERE ({RANGE})"),
    "a label called where": (
        "INSERT INTO u SELECT a AS where FROM t WHERE b",
        f"INSERT INTO u SELECT a AS where FROM t WHERE ({RANGE}) AND ( b )",
    ),
    "ON CONFLICT with conditions": (
        "INSERT INTO u SELECT a FROM t ON CONFLICT (a) WHERE a > 1 DO UPDATE SET a = 2 WHERE u.a > 2",
        f"INSERT INTO u SELECT a FROM t WHERE ({RANGE}) ON CONFLICT (a) WHERE a > 1 DO UPDATE SET a = 2 WHERE u.a > 2",
    ),
    "multi-byte text": (
        "UPDATE t SET a = 'äöü 🎉' WHERE \"ключ\" = 'é'",
        f"UPDATE t SET a = 'äöü 🎉' WHERE ({RANGE}) AND ( \"ключ\" = 'é' )",
    ),
}


@pytest.mark.parametrize(("sql", "wanted"), REWRITTEN.values(), ids=REWRITTEN.keys())
def test_the_range_is_one_more_condition_beside_the_whole_original(sql: str, wanted: str) -> None:
    assert limited(sql) == wanted


def test_a_comment_at_the_end_of_the_condition_hides_nothing() -> None:
    text = shape_of("DELETE FROM t WHERE a = 1 -- or not\n RETURNING a").limited_to(RANGE)

    assert text == f"DELETE FROM t  WHERE ({RANGE}) AND (\na = 1 -- or not\n) RETURNING a"


def test_a_shape_says_which_table_the_key_is_of_and_what_the_statement_calls_it() -> None:
    update = shape_of("UPDATE ONLY app.t AS x SET a = 1")
    insert = shape_of("INSERT INTO app.u SELECT lower(s.a), (SELECT count(*) FROM v) FROM t s")

    assert (update.verb, update.source, update.called, update.only) == (
        Verb.UPDATE,
        TableName(schema="app", name="t"),
        "x",
        True,
    )
    assert (insert.verb, insert.target, insert.source) == (
        Verb.INSERT,
        TableName(schema="app", name="u"),
        TableName(schema="", name="t"),
    )
    assert (insert.called, insert.only, insert.functions) == ("s", False, frozenset({"lower"}))


# Conditions that SQLite and PostgreSQL read in the same way, so that a database decides whether the rows are right.
atoms = st.sampled_from(["a = 1", "b IS NULL", "a <> b", "b > 1", "id < 7", "a IN (0, 2)", "a = 1 -- why\n"])
conditions = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from([" AND ", " OR "]), inner).map("".join),
        inner.map(lambda one: f"NOT {one}"),
        inner.map(lambda one: f"({one})"),
    ),
    max_leaves=8,
)
rows = st.lists(st.tuples(st.integers(-9, 9), st.integers(0, 2), st.none() | st.integers(0, 2)), max_size=12)


@given(condition=conditions, content=rows, bounds=st.sets(st.integers(-9, 9), max_size=4))
def test_all_ranges_together_do_what_the_whole_statement_does(
    condition: str, content: list[tuple[int, int, int | None]], bounds: set[int]
) -> None:
    whole = f"UPDATE t SET n = n + 1 WHERE {condition}"
    shape = shape_of(whole)
    edges = [-10, *sorted(bounds), 10]
    parts = [shape.limited_to(f"id > {low} AND id <= {high}") for low, high in pairwise(edges)]

    assert after(content, parts) == after(content, [whole])


def after(content: list[tuple[int, int, int | None]], statements: Sequence[str]) -> list[tuple[object, ...]]:
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE t (id int, a int, b int, n int DEFAULT 0)")
    database.executemany("INSERT INTO t (id, a, b) VALUES (?, ?, ?)", content)
    for statement in statements:
        database.execute(statement)
    found = database.execute("SELECT * FROM t ORDER BY rowid").fetchall()
    database.close()
    return found


# --- what is refused -----------------------------------------------------------------------------------------------

REFUSED = {
    "a query": ("SELECT 1", "only UPDATE, DELETE and INSERT"),
    "DDL": ("ALTER TABLE t ADD COLUMN a int", "only UPDATE, DELETE and INSERT"),
    "MERGE": ("MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE", "only UPDATE, DELETE and INSERT"),
    "a cursor": ("DELETE FROM t WHERE CURRENT OF c", "CURRENT OF"),
    "an update of its key": ("UPDATE t SET (a, id) = (1, 2)", "changes its own key (id)"),
    "its own table in a subquery": ("UPDATE t SET a = (SELECT max(a) FROM t)", "reads t, which it writes"),
    "its own table in FROM": ("UPDATE public.t SET a = o.a FROM t o WHERE o.id = t.id", "reads t, which it writes"),
    "WITH that writes": ("WITH d AS (DELETE FROM s RETURNING *) UPDATE t SET a = 1 FROM d", "d in WITH writes"),
    "VALUES": ("INSERT INTO u VALUES (1)", "only as INSERT … SELECT from one table"),
    "DEFAULT VALUES": ("INSERT INTO u DEFAULT VALUES", "only as INSERT … SELECT from one table"),
    "a join": ("INSERT INTO u SELECT 1 FROM t JOIN s ON true", "only as INSERT … SELECT from one table"),
    "two tables": ("INSERT INTO u SELECT 1 FROM t, s", "only as INSERT … SELECT from one table"),
    "no table": ("INSERT INTO u SELECT 1", "only as INSERT … SELECT from one table"),
    "a function": ("INSERT INTO u SELECT * FROM generate_series(1, 9) t", "only as INSERT … SELECT from one table"),
    "DISTINCT": ("INSERT INTO u SELECT DISTINCT a FROM t", "DISTINCT"),
    "DISTINCT ON": ("INSERT INTO u SELECT DISTINCT ON (a) a FROM t", "DISTINCT"),
    "GROUP BY": ("INSERT INTO u SELECT a FROM t GROUP BY a", "GROUP BY"),
    "HAVING": ("INSERT INTO u SELECT 1 FROM t HAVING true", "HAVING"),
    "LIMIT": ("INSERT INTO u SELECT a FROM t LIMIT 3", "LIMIT"),
    "OFFSET": ("INSERT INTO u SELECT a FROM t OFFSET 3", "OFFSET"),
    "FETCH": ("INSERT INTO u SELECT a FROM t FETCH FIRST ROW ONLY", "LIMIT"),
    "ORDER BY": ("INSERT INTO u SELECT a FROM t ORDER BY a", "ORDER BY"),
    "FOR UPDATE": ("INSERT INTO u SELECT a FROM t FOR UPDATE", "FOR UPDATE"),
    "UNION": ("INSERT INTO u SELECT a FROM t UNION ALL SELECT 1", "UNION"),
    "a window": ("INSERT INTO u SELECT row_number() OVER (ORDER BY a) FROM t", "window function row_number"),
    "a named window": ("INSERT INTO u SELECT rank() OVER w FROM t WINDOW w AS ()", "WINDOW"),
    "an aggregate": ("INSERT INTO u SELECT count(*) FROM t", "aggregate count"),
    "an aggregate inside": ("INSERT INTO u SELECT coalesce(sum(a), 0) + 1 FROM t", "aggregate sum"),
    "an aggregate of somebody": ("INSERT INTO u SELECT mine(a ORDER BY a) FROM t", "aggregate mine"),
    "its own source": ("INSERT INTO t SELECT a FROM public.t", "copies t into itself"),
    "its target in a subquery": (
        "INSERT INTO u SELECT a FROM t WHERE a NOT IN (SELECT a FROM u)",
        "reads u, which it writes",
    ),
    "parentheses": ("INSERT INTO u (SELECT a FROM t)", "in parentheses"),
    "TABLE": ("INSERT INTO u TABLE t", "in parentheses, or is TABLE"),
    "what cannot be parsed": ("UPDATE t SET a =", "cannot be parsed by the grammar"),
    "what nests too deeply": ("UPDATE t SET a = " + "1 + " * 200 + "1", "nests too deeply"),
    "what is too long": (f"DELETE FROM t WHERE a IN ({', '.join(['1'] * 3000)})", "more than 4000 words"),
    "what would end the process": (
        "DELETE FROM t WHERE " + "(" * 100_000 + "true" + ")" * 100_000,
        "more than 4000 words",
    ),
}


@pytest.mark.parametrize(("sql", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_what_ranges_would_change_is_refused_with_its_line_and_the_reason(sql: str, reason: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        split_statements(f"SELECT 1;\n-- squizzle: batch key=id\n{sql}", source="up.sql")

    assert caught.value.message.startswith("up.sql:3: this statement cannot run in batches: ")
    assert reason in caught.value.message
    assert caught.value.hint


def test_an_author_may_say_that_reading_the_own_table_changes_nothing() -> None:
    sql = "DELETE FROM t USING t o WHERE o.email = t.email AND o.id < t.id"

    assert shape_of(sql, own=True).condition == "o.email = t.email AND o.id < t.id"


@pytest.mark.parametrize(
    ("mark", "sql"),
    [
        ("batch key=u.id", "UPDATE t SET a = 1"),
        ("batch key=t.id", "UPDATE t AS x SET a = 1"),
        ("batch key=u.id", "INSERT INTO u SELECT a FROM t"),
    ],
)
def test_a_key_of_another_table_is_refused(mark: str, sql: str) -> None:
    with pytest.raises(InvalidInputError, match="is said to be of"):
        split_statements(f"-- squizzle: {mark}\n{sql}", source="up.sql")


@pytest.mark.parametrize(
    ("mark", "sql"),
    [
        ("batch key=t.id", "UPDATE public.t SET a = 1"),
        ("batch key=x.id", "UPDATE t x SET a = 1"),
        ("batch key=s.id", "INSERT INTO u SELECT a FROM t s"),
    ],
)
def test_a_key_of_the_table_as_the_statement_calls_it_is_right(mark: str, sql: str) -> None:
    (found,) = split_statements(f"-- squizzle: {mark}\n{sql}", source="up.sql")

    assert found.batch is not None
