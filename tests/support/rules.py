"""The schema that the examples of the rules are about, and what the linter says about a script in such a project."""

from __future__ import annotations

from datetime import date
from functools import cache
from pathlib import Path

from squizzle.analysis.actions import Unknown
from squizzle.analysis.findings import Finding
from squizzle.analysis.lint import Script, lint_scripts
from squizzle.analysis.records import Statement
from squizzle.analysis.rules.rule import Way
from squizzle.analysis.statements import split_statements
from squizzle.analysis.summary import summarize
from squizzle.errors import InvalidInputError

# Waivers are held against this day.
TODAY = date(2026, 11, 26)
SCHEMA = (Path(__file__).parent / "rule_schema.sql").read_text(encoding="utf-8")


@cache
def findings_of(text: str, *, way: Way = Way.UP, with_history: bool = True) -> tuple[Finding, ...]:
    """What is said about a script; its history is the schema of the examples."""
    before = [Script(text=SCHEMA, source="schema.sql")] if with_history else []
    found = lint_scripts([*before, Script(text=text, source="example.sql", way=way)], today=TODAY).findings
    return tuple(one for one in found if one.file == "example.sql")


def sql_of_hint(hint: str) -> tuple[Statement, ...]:
    """The statements of a hint; none when it is advice in words, or a piece of a statement."""
    try:
        statements = split_statements(hint, source="hint")
    except InvalidInputError:
        return ()
    understood = not any(isinstance(action, Unknown) for one in statements for action in summarize(one).actions)
    return statements if understood else ()
