"""Findings as text, SARIF and annotations of GitHub."""

from __future__ import annotations

import json
from dataclasses import replace

from squizzle.analysis.findings import Finding, Severity, Waiver
from squizzle.analysis.lint import LintResult
from squizzle.analysis.rules.registry import built_in_rules
from squizzle.reports.findings import as_document, as_github, as_sarif, as_text

SOURCE = "-- é\n\tCREATE INDEX i ON t (a);"
FOUND = Finding(
    file="a b,c.sql",
    line=2,
    column=19,
    rule="L101",
    name="index-not-concurrent",
    severity=Severity.WARNING,
    message="builds an index on t, 100% of it",
    effect="Writers wait.",
    lock="SHARE",
    relation="t",
    hint="CREATE INDEX CONCURRENTLY i ON t (a);\nand nothing else",
)
WAIVED = Finding(
    file="b.sql",
    line=9,
    column=1,
    rule="D101",
    name="rows-without-where",
    severity=Severity.ERROR,
    message="DELETE",
    waiver=Waiver(reason="the table is empty", until="2027-01-31", line=8),
)
RESULT = LintResult(findings=(FOUND, WAIVED), files=2, statements=5)


def test_the_text_shows_the_line_the_place_the_reason_and_the_way_out() -> None:
    assert as_text(RESULT, {"a b,c.sql": SOURCE}).split("\n") == [
        "warning[L101] index-not-concurrent: builds an index on t, 100% of it",
        "  --> a b,c.sql:2:19",
        "  2 |  CREATE INDEX i ON t (a);",
        "    |                   ^",
        "  lock:    SHARE on t",
        "  why:     Writers wait.",
        "  instead: CREATE INDEX CONCURRENTLY i ON t (a);",
        "           and nothing else",
        "",
        "allowed error[D101] rows-without-where: DELETE",
        "  --> b.sql:9:1",
        "  waived:  the table is empty until 2027-01-31",
        "",
        "0 error, 1 warning, 0 info, 1 waived; 5 statements in 2 scripts",
    ]


def test_of_a_line_without_end_the_text_shows_what_is_around_the_place() -> None:
    line = "x" * 999 + "\x1b[2J\tHERE" + "y" * 1_000_000
    found = replace(FOUND, line=1, column=1005)

    _, _, shown, caret, *_ = as_text(replace(RESULT, findings=(found,)), {found.file: line}).split("\n")

    assert shown[caret.index("^") :].startswith("HERE")
    assert "[2J" in shown
    assert "\x1b" not in shown
    assert len(shown) < 200


def test_the_document_counts_what_nobody_waived() -> None:
    document = as_document(RESULT)
    assert document["summary"] == {"files": 2, "statements": 5, "error": 0, "warning": 1, "info": 0, "waived": 1}
    assert json.loads(json.dumps(document)) == document


def test_sarif_names_every_rule_and_carries_waivers_as_suppressions() -> None:
    document = json.loads(as_sarif(RESULT, built_in_rules()))
    (run,) = document["runs"]
    assert document["version"] == "2.1.0"
    assert {rule["id"] for rule in run["tool"]["driver"]["rules"]} == {rule.code for rule in built_in_rules()}
    first, second = run["results"]
    place = first["locations"][0]["physicalLocation"]
    assert place["region"] == {"startLine": 2, "startColumn": 19}
    assert run["columnKind"] == "unicodeCodePoints"
    assert place["artifactLocation"]["uri"] == "a%20b%2Cc.sql"
    assert second["message"] == {"text": "DELETE."}
    assert (first["level"], "suppressions" in first) == ("warning", False)
    assert second["suppressions"] == [{"kind": "inSource", "justification": "the table is empty"}]


def test_annotations_of_github_escape_what_would_end_them() -> None:
    assert as_github(RESULT) == (
        "::warning file=a b%2Cc.sql,line=2,col=19,title=L101 index-not-concurrent"
        "::builds an index on t, 100%25 of it. Writers wait.%0AInstead: CREATE INDEX CONCURRENTLY i ON t (a);%0Aand nothing else"
    )
