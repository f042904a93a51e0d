"""Waivers keep known findings quiet, and are themselves held to account."""

from __future__ import annotations

from datetime import date

import pytest

from squizzle.analysis.findings import Finding, Severity, Waiver
from squizzle.analysis.lint import LintResult, Script, lint_scripts

TODAY = date(2026, 11, 26)
DELETE = "DELETE FROM t;"


def lint(*lines: str) -> LintResult:
    return lint_scripts([Script(text="\n".join(lines), source="x.sql")], today=TODAY)


def of(result: LintResult, code: str) -> list[Finding]:
    return [one for one in result.findings if one.rule == code]


@pytest.mark.parametrize("allowed", ["D101", "rows-without-where", "L101 D101"])
@pytest.mark.parametrize("until", ["", "until=2026-11-26 ", "until=2027-01-31 "])
def test_an_allowed_finding_stays_visible_and_does_not_count(allowed: str, until: str) -> None:
    result = lint(f'-- squizzle: allow {allowed} {until}reason="the ""old"" rows are copied"', DELETE)
    (finding,) = of(result, "D101")
    held = until.removeprefix("until=").strip()
    assert finding.waiver == Waiver(reason='the "old" rows are copied', until=held, line=1)
    assert result.count(Severity.ERROR) == 0


def test_a_waiver_is_for_the_next_statement_only() -> None:
    result = lint('-- squizzle: allow D101 reason="empty"', DELETE, DELETE)
    assert [one.waiver is None for one in of(result, "D101")] == [False, True]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ('allow reason="x"', "the waiver names no rule"),
        ('allow D999 reason="x"', "there is no rule D999"),
        ('allow D101 rows-without-were reason="x"', "there is no rule rows-without-were"),
        ("allow D101", "the waiver gives no reason"),
        ('allow D101 reason=""', "the waiver gives no reason"),
        ('allow D101 reason="x" until=2026-11-25', "the waiver held until 2026-11-25"),
        ('allow D101 reason="x" until=soon', "until=soon is no date"),
        ('allow D101 reason="x" by=me', "a waiver has no setting by"),
    ],
)
def test_a_waiver_that_is_wrong_is_an_error_and_keeps_nothing_quiet(words: str, problem: str) -> None:
    result = lint(f"-- squizzle: {words}", DELETE)
    (bad,) = of(result, "U110")
    assert (bad.message, bad.line, bad.severity) == (problem, 1, Severity.ERROR)
    assert [one.waiver for one in of(result, "D101")] == [None]


def test_a_waiver_of_what_is_not_found_is_a_note() -> None:
    (unused,) = of(lint('-- squizzle: allow D101 reason="x"', "SELECT 1;"), "U111")
    assert unused.severity is Severity.INFO
    assert unused.message == "nothing of D101 is found here: remove the waiver"
