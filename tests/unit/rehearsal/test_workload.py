"""What a workload file may say, and what two measures of a query mean."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from squizzle.errors import InvalidInputError
from squizzle.rehearsal.plan_shape import PlanShape, read_shape
from squizzle.rehearsal.records import PlanChange
from squizzle.rehearsal.workload import Query, QueryMeasure, read_workload
from squizzle.rehearsal.workload_changes import compare_workload


def test_statements_of_a_file_with_their_lines_and_without_their_values(tmp_path: Path) -> None:
    file = tmp_path / "w.sql"
    file.write_text(
        """
-- the front page
SELECT "a;1", E'it\\'s; secret', $$secret$$ FROM t WHERE n = 4711 AND x'ff' <> B'1';
(VALUES (1));
  update t set "n1" = $2 where id = $1 and u = U&'secret'
"""
    )
    first, second, third = read_workload(file)
    assert first.label == 'SELECT "a;1", …, … FROM t WHERE n = … AND … <> …'
    assert (first.line, second.line, third.line) == (3, 4, 5)
    assert (first.has_parameters, second.has_parameters, third.has_parameters) == (False, False, True)
    assert third.label == 'update t set "n1" = $2 where id = $1 and u = …'
    assert third.sql == """update t set "n1" = $2 where id = $1 and u = U&'secret'"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SELECT 1;\n\nDROP TABLE t;", r"w\.sql:3: DROP cannot be replayed"),
        ("BEGIN;", r"w\.sql:1: BEGIN cannot be replayed"),
        ("SELECT 1;\nCOPY t FROM stdin;\n1\n\\.\n", r"w\.sql:2: COPY cannot be replayed"),
        ("SELECT 1;\nSELECT 'open", r"w\.sql:2: not readable as SQL"),
        ("-- nothing\n", r"w\.sql has no statement"),
        (None, r"w\.sql cannot be read"),
    ],
)
def test_a_file_that_cannot_be_replayed_is_refused_with_the_line(
    tmp_path: Path, text: str | None, message: str
) -> None:
    if text is not None:
        (tmp_path / "w.sql").write_text(text)
    with pytest.raises(InvalidInputError, match=message):
        read_workload(tmp_path / "w.sql")


def plan(kind: str, *inner: dict[str, Any], **more: str) -> dict[str, Any]:
    names = {"index": "Index Name", "relation": "Relation Name"}
    named = {names[key]: value for key, value in more.items()}
    return {"Node Type": kind, "Total Cost": 10.0, "Plans": list(inner), "Schema": "public", **named}


BY_INDEX = read_shape(plan("Index Scan", index="t_a", relation="t"))
BY_BITMAP = read_shape(plan("Bitmap Heap Scan", plan("Bitmap Index Scan", index="t_b"), relation="t"))
WHOLE = read_shape(plan("Seq Scan", relation="t"))
JOIN_PLAN = plan("Nested Loop", plan("Seq Scan", relation="t"), plan("Index Scan", index="t_a", relation="t"))
JOIN = read_shape(JOIN_PLAN)
QUERY = Query(sql="SELECT 1", label="SELECT …")


def test_a_relation_that_is_read_twice_loses_its_index_once() -> None:
    both = read_shape(plan("Hash Join", plan("Seq Scan", relation="t"), plan("Hash", plan("Seq Scan", relation="t"))))
    assert both.text == "Hash Join (Seq Scan on public.t, Hash (Seq Scan on public.t))"
    assert both.lost_indexes(JOIN) == ("public.t",)
    assert JOIN.lost_indexes(JOIN) == ()
    assert WHOLE.lost_indexes(JOIN) == ()
    more = read_shape(plan("Append", plan("Seq Scan", relation="t"), plan("Seq Scan", relation="t"), JOIN_PLAN))
    assert more.lost_indexes(JOIN) == ()
    assert more.text.startswith("Append (Seq Scan on public.t, Nested Loop (")
    assert BY_BITMAP.lost_indexes(BY_INDEX) == ()
    other = read_shape(plan("Seq Scan", relation="u"))
    assert other.lost_indexes(BY_INDEX) == ()


def measure(shape: PlanShape | None = BY_INDEX, ms: float | None = None, **more: Any) -> QueryMeasure:
    return QueryMeasure(query=QUERY, shape=shape, ms=ms, **{"indexes": frozenset({"t_a", "t_b"}), **more})


def judged(before: QueryMeasure, after: QueryMeasure) -> PlanChange:
    [change] = compare_workload([before], [after])
    return change


NO_VALUES = "its values are not known"


@pytest.mark.parametrize(
    ("before", "after", "verdict", "why"),
    [
        (measure(ms=1), measure(ms=5.9), "fine", "as before: 1.0 ms before, 5.9 ms now"),
        (measure(ms=100), measure(ms=149), "fine", "as before: 100.0 ms before, 149.0 ms now"),
        (measure(ms=1), measure(ms=6.1), "worse", "is slower: 1.0 ms before, 6.1 ms now"),
        (measure(WHOLE, 90), measure(ms=1), "fine", "is faster by t_a: 90.0 ms before, 1.0 ms now"),
        (measure(ms=1), measure(WHOLE, 1.1), "fine", "as before: 1.0 ms before, 1.1 ms now"),
        (
            measure(ms=1),
            measure(WHOLE, 1.1, indexes=frozenset()),
            "worse",
            "reads public.t as a whole, for t_a is gone: 1.0 ms before, 1.1 ms now",
        ),
        (
            measure(BY_BITMAP, 1),
            measure(WHOLE, 90),
            "worse",
            "reads public.t as a whole, and used t_b before: 1.0 ms before, 90.0 ms now",
        ),
        (
            measure(ms=10),
            measure(is_cut=True, limit_ms=20),
            "worse",
            "is slower: 10.0 ms before, ended after 20 ms now",
        ),
        (
            measure(ms=10),
            measure(is_cut=True, limit_ms=12),
            "open",
            "was not timed to its end: 10.0 ms before, ended after 12 ms now",
        ),
        (measure(is_cut=True, limit_ms=20), measure(ms=1), "fine", "is faster: ended after 20 ms before, 1.0 ms now"),
        (measure(ms=1), measure(None, refused="no such column"), "worse", "no longer runs: no such column"),
        (
            measure(None, why="no time was left for it"),
            measure(None, refused="no such column"),
            "open",
            "does not run: no such column; nobody knows whether it did before: no time was left for it",
        ),
        (measure(refused="x"), measure(ms=1), "fine", "runs now, and did not before: x"),
        (measure(ms=1), measure(None, why="out of memory"), "open", "cannot be compared: out of memory"),
        (
            measure(why=NO_VALUES),
            measure(WHOLE, why=NO_VALUES),
            "open",
            f"has another plan, at 1.0 times the estimated cost; its times cannot be compared: {NO_VALUES}",
        ),
        (
            measure(why=NO_VALUES),
            measure(replace(WHOLE, cost=99), why=NO_VALUES),
            "worse",
            "reads public.t as a whole, and used t_a before: not timed before, not timed now",
        ),
    ],
)
def test_what_two_measures_of_a_query_mean(before: QueryMeasure, after: QueryMeasure, verdict: str, why: str) -> None:
    change = judged(before, after)
    assert change.why == why
    assert (change.regressed, change.inconclusive) == (verdict == "worse", verdict == "open")


def test_a_query_that_was_not_measured_again_is_no_success() -> None:
    [change] = compare_workload([measure(ms=1)], [])
    assert (change.inconclusive, change.why) == (True, "cannot be compared: it was not measured afterwards")
