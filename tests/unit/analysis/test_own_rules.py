"""Rules of a project, and the severities that it chooses."""

from __future__ import annotations

from pathlib import Path

import pytest

from squizzle.analysis.findings import Severity
from squizzle.analysis.lint import Script, check_rule_names, lint_scripts, with_severities
from squizzle.analysis.rules.own import load_rules
from squizzle.analysis.rules.registry import built_in_rules
from squizzle.errors import InvalidInputError
from tests.support.rules import TODAY

OWN = """
from squizzle.analysis.actions import CreateTable
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import Hit, Rule


def _check(action, context):
    if not action.table.name.startswith("shop_"):
        yield Hit(message=f"{action.table} does not begin with shop_", relation=action.table, location=action.location)


RULE = Rule(
    code="{code}",
    name="{name}",
    severity=Severity.ERROR,
    condition="A table without our prefix.",
    effect="Nobody finds it.",
    safe_way="Name it shop_….",
    bad="CREATE TABLE t (a int);",
    good="CREATE TABLE shop_t (a int);",
    source="our house rules",
    on=(CreateTable,),
    check=_check,
)
"""
SCRIPT = Script(text="CREATE TABLE t (a int);\nCREATE TABLE shop_t (a int);", source="x.sql")


def write(folder: Path, file: str, text: str) -> None:
    (folder / file).write_text(text, encoding="utf-8")


def own(code: str = "P001", name: str = "our-prefix") -> str:
    return OWN.replace("{code}", code).replace("{name}", name)


def test_a_rule_of_the_project_looks_like_one_of_ours(tmp_path: Path) -> None:
    write(tmp_path, "prefix.py", own())
    (finding,) = lint_scripts([SCRIPT], rules=load_rules(tmp_path, beside=built_in_rules()), today=TODAY).findings
    assert (finding.rule, finding.name, finding.line, finding.severity) == ("P001", "our-prefix", 1, Severity.ERROR)
    assert finding.message == "t does not begin with shop_"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("RULE = 7", "defines no RULE"),
        ("raise KeyError('x')", "fails: KeyError"),
        ("def (", "fails: SyntaxError"),
        (own(code="L101"), "is taken by L101 index-not-concurrent"),
        (own(name="index-not-concurrent"), "is taken by L101 index-not-concurrent"),
    ],
)
def test_a_file_that_is_no_rule_is_named(tmp_path: Path, text: str, says: str) -> None:
    write(tmp_path, "odd.py", text)
    with pytest.raises(InvalidInputError) as caught:
        load_rules(tmp_path, beside=built_in_rules())
    assert str(tmp_path / "odd.py") in caught.value.message
    assert says in caught.value.message


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="is no folder of rules"):
        load_rules(tmp_path / "nowhere")


def test_severities_are_chosen_by_code_or_name_and_off_is_silence() -> None:
    result = lint_scripts([Script(text="CREATE INDEX i ON t (a); DELETE FROM t;", source="x.sql")], today=TODAY)
    chosen = with_severities(result, {"L101": "error", "rows-without-where": "off"})
    kept = {one.rule: one.severity for one in chosen.findings}
    assert kept["L101"] is Severity.ERROR
    assert "D101" not in kept


def test_a_severity_for_a_rule_that_is_not_there_is_refused() -> None:
    check_rule_names(["L101", "rows-without-where", "unreadable-script", "squawk:ban-char-field"], built_in_rules())
    with pytest.raises(InvalidInputError, match="there is no rule L999, index-not-concurent"):
        check_rule_names(["L999", "index-not-concurent"], built_in_rules())
