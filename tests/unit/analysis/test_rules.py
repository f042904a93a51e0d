"""Every rule, by its own record: it fires on its bad example, is silent on its good one, and can be told apart."""

from __future__ import annotations

import re

import pytest

from squizzle.analysis.findings import Finding, Severity
from squizzle.analysis.lint import Script, lint_scripts
from squizzle.analysis.rules.registry import built_in_rules
from squizzle.analysis.rules.rule import Rule
from tests.support.rules import SCHEMA, TODAY, findings_of, sql_of_hint

RULES = built_in_rules()
each_rule = pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])


def codes(findings: tuple[Finding, ...]) -> set[str]:
    return {one.rule for one in findings}


@each_rule
def test_a_rule_fires_on_its_bad_example(rule: Rule) -> None:
    found = [one for one in findings_of(rule.bad) if one.rule == rule.code]
    assert found
    assert found[0].severity in Severity
    for one in found:
        assert one.message
        assert one.hint
        assert "None" not in f"{one.message} {one.hint}"


@each_rule
def test_without_earlier_scripts_a_rule_fires_unless_it_says_that_it_needs_them(rule: Rule) -> None:
    assert (rule.code in codes(findings_of(rule.bad, with_history=False))) is not rule.needs_history


@each_rule
def test_a_rule_is_silent_on_its_good_example(rule: Rule) -> None:
    assert rule.code not in codes(findings_of(rule.good))
    assert rule.code not in codes(findings_of(rule.good, with_history=False)) or rule.code in NEEDS_HISTORY_TO_BE_SILENT


# Which columns an index has, and what type a column had, stands in earlier scripts.
NEEDS_HISTORY_TO_BE_SILENT = {"L111", "L118"}


def test_good_examples_raise_no_error_and_no_warning_of_other_rules() -> None:
    loud = {
        (rule.code, one.rule): one.message
        for rule in RULES
        for one in findings_of(rule.good)
        if one.severity is not Severity.INFO
    }
    assert loud.keys() == GOOD_BUT_TOLD


# Pairs of a rule and another one that has a word about its good example, for a reason that the example cannot avoid.
GOOD_BUT_TOLD = {
    ("D105", "C103"),  # what is renamed is missed by code as well, but it is still there
    ("D106", "C107"),  # a drop stays a drop, also when it names what it drops
}


def test_bad_examples_are_found_by_no_other_rules_than_those_that_have_to() -> None:
    others = {
        (rule.code, one.rule)
        for rule in RULES
        for one in findings_of(rule.bad)
        if one.rule != rule.code and one.severity is not Severity.INFO
    }
    assert others == BAD_FOR_ANOTHER_REASON_TOO


BAD_FOR_ANOTHER_REASON_TOO = {
    ("D106", "C107"),  # a type is dropped, and columns with it
    ("D108", "L118"),  # rows are rounded, and written anew for it
    ("L107", "D103"),  # a partition is dropped, and its rows
    ("L120", "D109"),  # SET UNLOGGED writes anew what the next crash will empty
}


@each_rule
def test_a_rule_has_what_its_page_shows(rule: Rule) -> None:
    assert re.fullmatch(r"[LDCTXSU]\d{3}", rule.code)
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", rule.name)
    for text in (rule.condition, rule.effect, rule.safe_way, rule.source, rule.bad, rule.good):
        assert text.strip()
    for sentence in (rule.condition, rule.effect, rule.safe_way):
        assert sentence.endswith(".")
    assert rule.on


def test_codes_and_names_are_unique_and_each_file_is_called_like_its_rule() -> None:
    assert len({rule.code for rule in RULES}) == len({rule.name for rule in RULES}) == len(RULES)
    files = {rule.check.__module__.rpartition(".")[2] for rule in RULES}
    assert files == {rule.name.replace("-", "_") for rule in RULES}


# The hint's last step is the drop, when nothing uses the thing any more.
DROPS_IN_THE_END = {"D103", "D104"}


@each_rule
def test_the_safe_way_that_a_finding_prints_is_not_found_by_the_same_rule(rule: Rule) -> None:
    for one in findings_of(rule.bad):
        if one.rule == rule.code and sql_of_hint(one.hint) and rule.code not in DROPS_IN_THE_END:
            steps = one.hint.split("-- in the next migration:")
            told = lint_scripts([Script(text=text, source="step") for text in (SCHEMA, *steps)], today=TODAY).findings
            assert rule.code not in {found.rule for found in told} - codes(
                lint_scripts(SCHEMA_ONLY, today=TODAY).findings
            )


SCHEMA_ONLY = [Script(text=SCHEMA, source="step")]
