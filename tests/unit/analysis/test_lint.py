"""Scripts held against rules: where findings stand, and what is exempt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squizzle.analysis.findings import Severity
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
        ("SELECT 1;\nSHOW TABLES LIKE 'x';", [("unknown-statement", 2, 1)]),
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


@pytest.mark.parametrize("text", ["SELECT " + "+".join(["1"] * 60_000), "SELECT '" + "x" * 1_000_000 + "'"])
def test_a_statement_that_is_too_long_for_the_grammar_is_a_finding(text: str) -> None:
    assert places(text) == [("unknown-statement", 1, 1)]


@given(st.text(alphabet=st.sampled_from("ab '\"$;()-*/\\\n\0éCREATE TABLE DROP SELECT,"), max_size=80))
def test_no_text_makes_it_fail(text: str) -> None:
    for finding in lint(text).findings:
        assert finding.line >= 1
        assert finding.column >= 1
