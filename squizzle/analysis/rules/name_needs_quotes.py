"""A name that has to be quoted for ever."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import Action, AddColumn, CreateTable
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.columns_said import new_columns
from squizzle.analysis.rules.rule import Context, Hit, Rule
from squizzle.analysis.rules.words import quoted


def _check(action: Action, _context: Context) -> Iterator[Hit]:
    names = [column.name for column in new_columns(action)]
    if isinstance(action, CreateTable):
        names.append(action.table.name)
    for name in names:
        if quoted(name) != name:
            yield Hit(message=f"{quoted(name)} has to be quoted in every query", location=action.location)


RULE = Rule(
    code="T114",
    name="name-needs-quotes",
    severity=Severity.INFO,
    condition="A table or column with capitals, blanks or other characters that SQL only takes in quotes.",
    effect="Without the quotes PostgreSQL looks for the name in small letters and does not find it.",
    safe_way="Small letters, digits and underscores.",
    bad='ALTER TABLE users ADD COLUMN "lastSeen" timestamptz;',
    good="ALTER TABLE users ADD COLUMN last_seen timestamptz;",
    source="PostgreSQL manual, Identifiers and Key Words; Atlas, NM101 to NM103",
    on=(CreateTable, AddColumn),
    check=_check,
)
