"""Scripts held against rules: where findings stand, and what is exempt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squizzle.analysis.findings import Severity
from squizzle.analysis.grammar import LONGEST
from squizzle.analysis.lint import LintResult, Script, lint_scripts
from tests.support.rules import TODAY


def lint(text: str) -> LintResult:
    return lint_scripts([Script(text=text, source="x.sql")], today=TODAY)


def places(text: str) -> list[tuple[str, int, int]]:
    return [(one.name, one.line, one.column) for one in lint(text).findings]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("-- only a comment\n", []),
        ("-- é\nCREATE INDEX i\n  ON t (a);", [("index-not-concurrent", 3, 6)]),
        ("/* ü */ DELETE FROM t; DELETE FROM t;", [("rows-without-where", 1, 21), ("rows-without-where", 1, 36)]),
        ("SELECT 1;\nDO $$\nBEGIN\n  DELETE FROM t;\nEND $$;", [("rows-without-where", 4, 1)]),
        ("CREATE TABLE n (a bigint PRIMARY KEY);\nCREATE INDEX ON n (a);\nDELETE FROM n;", []),
        ("SELECT 1;\nSELECT 'open", [("unreadable-script", 2, 1)]),
        ("SELECT 1;\nSELECT \0 2;", [("unreadable-script", 2, 1)]),
        ("SELECT 1;\nSHOW TABLES LIKE 'x';", [("unknown-statement", 2, 13)]),
        ("SELECT 1;\nSELECT 'ü' FRM\n x y z;", [("unknown-statement", 3, 2)]),
        ("\\c other\nSELECT 1;", [("unreadable-script", 1, 1)]),
    ],
)
def test_findings_stand_where_the_reader_looks(text: str, expected: list[tuple[str, int, int]]) -> None:
    assert places(text) == expected


def test_files_statements_and_severities_are_counted() -> None:
    result = lint("CREATE INDEX ON t (a); DELETE FROM t; SELECT 1;")
    assert (result.files, result.statements) == (1, 3)
    assert {severity: result.count(severity) for severity in Severity} == {
        Severity.ERROR: 1,
        Severity.WARNING: 1,
        Severity.INFO: 0,
    }


HIT_IN_LINE_2 = ("rows-without-where", 2, 1)
COMMENTS = "-- nothing to see here\n" * 45_000
MANY = ",123456" * 30_000
# Far longer or deeper than what is parsed in this process.
HUGE = {
    "rows": ("INSERT INTO t VALUES (1)" + ",\n(2, 'a', now())" * 10_000, []),
    "list": ("DELETE FROM t WHERE a IN (0…);\nDELETE FROM t;".replace("…", MANY), [("rows-without-where", 2, 13)]),
    "list in a body": ("DO $$BEGIN\nDELETE FROM t;\nDELETE FROM u WHERE id IN (0" + MANY + ");END$$", [HIT_IN_LINE_2]),
    "body of a megabyte": (
        f"CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$BEGIN\nDELETE FROM t;\n{COMMENTS}END$$",
        [HIT_IN_LINE_2],
    ),
    "sixty texts joined": (
        "DELETE FROM t WHERE true OR a = " + "'a' || " * 60 + "'b'",
        [("rows-without-where", 1, 13)],
    ),
    "three hundred SELECTs": ("INSERT INTO t SELECT 1" + " UNION ALL SELECT 1" * 300, []),
}


@pytest.mark.parametrize(("text", "expected"), HUGE.values(), ids=HUGE)
def test_a_huge_statement_is_judged_like_a_small_one(text: str, expected: list[tuple[str, int, int]]) -> None:
    assert places(text) == expected


TOO_DEEP = {
    "terms": ("SELECT\n" + "1+" * 30_000 + "1", (1, 1), "died"),
    "brackets": ("SELECT\n" + "(" * 30_000 + "1" + ")" * 30_000, (2, 9997), "nests more deeply than the grammar"),
    "queries": ("SELECT\n" + "(SELECT " * 3_000 + "1" + ")" * 3_000, (1, 1), "18,009 levels"),
    "short": ("SELECT " + "+" * 900 + "1", (1, 1), "1,809 levels"),
    "in a body": ("DO $$BEGIN\nDELETE FROM t WHERE id = " + "1+" * 30_000 + "1; END$$", (2, 1), "died"),
    "too long": ("SELECT '" + "x" * LONGEST + "'", (1, 1), "4,194,304 characters"),
}


@pytest.mark.parametrize(("text", "place", "reason"), TOO_DEEP.values(), ids=TOO_DEEP)
def test_a_statement_that_is_too_much_for_the_parser_is_a_finding(
    text: str, place: tuple[int, int], reason: str
) -> None:
    [finding] = lint(text).findings

    assert (finding.name, finding.line, finding.column) == ("unknown-statement", *place)
    assert reason in finding.message


@given(st.text(alphabet=st.sampled_from("ab '\"$;()-*/\\\n\0éCREATE TABLE DROP SELECT,"), max_size=80))
def test_no_text_makes_it_fail(text: str) -> None:
    for finding in lint(text).findings:
        assert finding.line >= 1
        assert finding.column >= 1
