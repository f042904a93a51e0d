"""The levels told from tokens are never fewer than those of the tree, or a process could end that parses."""

from __future__ import annotations

import postgast
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from squizzle.analysis.nesting import levels_of
from squizzle.analysis.parser_child import allow_deep_trees, depth_of

FORMS = [
    "({} + {})",
    "{} || {}",
    "NOT {}",
    "- {}",
    "{}::int",
    "{} IS NULL",
    "CASE WHEN {} THEN {} ELSE {} END",
    "f({}, {})",
    "{} BETWEEN {} AND {}",
    "({} BETWEEN 1 AND 2 IS NULL IS NULL)",
    "({} AND {} OR {})",
    "ARRAY[{}, {}]",
    "(SELECT {}, 1 UNION SELECT 2, {} UNION SELECT 1, 2)",
    "(SELECT 1 AS END FROM x JOIN (SELECT {}) AS y ON {} AND true JOIN z USING (a))",
]
EXPRESSIONS = st.recursive(
    st.sampled_from(["1", "a", "'x'", "f()", "b.c", "NULL"]),
    lambda inner: st.builds(
        lambda form, parts: form.format(*parts), st.sampled_from(FORMS), st.tuples(inner, inner, inner)
    ),
    max_leaves=40,
)


@settings(max_examples=150)
@given(EXPRESSIONS, st.integers(1, 60))
@example("f(" * 40 + "a" + " + 1 + 1 + 1 + 1 + 1 + 1 + 1, 2)" * 40, 1)
@example("(" * 40 + "a" + " BETWEEN 1 AND 2 IS NULL IS NULL IS NULL IS NULL IS NULL IS NULL)" * 40, 1)
@example("CASE WHEN true THEN " * 40 + "a" + " + 1 + 1 + 1 + 1 + 1 + 1 + 1 END" * 40, 1)
@example("(SELECT 1, 2 FROM x" + " JOIN y USING (a), z" * 100 + " UNION SELECT 1, 2" * 100 + ")", 1)
def test_no_tree_has_more_levels_than_its_tokens_tell(expression: str, times: int) -> None:
    text = f"SELECT {expression}" + f" || {expression}" * (times if len(expression) < 200 else 0)
    allow_deep_trees(allow=True)
    try:
        tree = postgast.parse(text)
    except postgast.PgQueryError:
        return
    finally:
        allow_deep_trees(allow=False)

    assert depth_of(tree) <= 4 * levels_of(text) + 8


@pytest.mark.parametrize(
    ("begin", "repeated", "end"),
    [
        ("CREATE TABLE t (a int", ", b numeric(10, 2) NOT NULL DEFAULT 0", ")"),
        ("INSERT INTO t VALUES (1)", ", (2, now(), NULL, -1.5)", ""),
        ("DELETE FROM t WHERE a", " OR a = 1 AND b BETWEEN 1 AND 2", ""),
        ("DO $$ BEGIN", " UPDATE t SET a = (b + c);", " END $$"),
    ],
)
def test_what_people_write_is_flat(begin: str, repeated: str, end: str) -> None:
    assert levels_of(begin + 300 * repeated + end) < 15
