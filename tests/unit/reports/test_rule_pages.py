"""The rules' page is what the rules say, and every rule that another page names is there."""

from __future__ import annotations

import re
from pathlib import Path

from squizzle.analysis.rules.registry import built_in_rules
from squizzle.reports.rule_pages import PAGE


def test_every_rule_has_a_section_that_the_table_links_to(project_root: Path) -> None:
    page = (project_root / PAGE).read_text(encoding="utf-8")
    links = re.findall(r"^\| \[[A-Z]\d+\]\(#([^)]+)\)", page, re.MULTILINE)
    anchors = [title.lower().replace(" ", "-") for title in re.findall(r"^### (.*)$", page, re.MULTILINE)]
    assert links == anchors
    assert len(links) == len(built_in_rules())


def test_the_page_about_other_tools_names_only_rules_that_exist(project_root: Path) -> None:
    page = (project_root / "docs" / "rules-of-other-tools.md").read_text(encoding="utf-8")
    ours = {rule.code for rule in built_in_rules()}
    named = set(re.findall(r"\b(?!PG)[LDCTXSU]1\d\d\b", page))
    assert named <= ours
    assert len(named) > 50
