"""An enum cannot shrink."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import CreateEnum
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import Context, Hit, Rule
from squizzle.analysis.rules.words import quoted


def _check(action: CreateEnum, _context: Context) -> Iterator[Hit]:
    values = ", ".join("'" + value.replace("'", "''") + "'" for value in action.values)
    yield Hit(
        message=f"values of {action.name} can be added, but never removed",
        hint=f"text CHECK ({quoted(action.name.name)} IN ({values}))",
    )


RULE = Rule(
    code="T106",
    name="enum-created",
    severity=Severity.INFO,
    condition="CREATE TYPE … AS ENUM.",
    effect="A value that is not wanted any more cannot be dropped, and adding one cannot be undone by a down script.",
    safe_way="A CHECK, or a table of the values with a foreign key; an enum where the list is settled for good.",
    bad="CREATE TYPE mood AS ENUM ('good', 'bad');",
    good="CREATE TABLE moods (name text PRIMARY KEY);",
    source="PostgreSQL manual, Enumerated Types; eugene, W13",
    on=(CreateEnum,),
    check=_check,
)
