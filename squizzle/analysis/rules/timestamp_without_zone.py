"""A time without a time zone."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import Action, AddColumn, AlterColumnType, CreateTable
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.columns_said import typed_columns
from squizzle.analysis.rules.rule import Context, Hit, Rule
from squizzle.analysis.rules.words import quoted


def _check(action: Action, _context: Context) -> Iterator[Hit]:
    for name, type_, location in typed_columns(action):
        if type_.name == "timestamp":
            yield Hit(
                message=f"{name} does not say in which time zone it is",
                hint=f"{quoted(name)} timestamptz",
                location=location,
            )


RULE = Rule(
    code="T104",
    name="timestamp-without-zone",
    severity=Severity.INFO,
    condition="A column of type timestamp (without time zone).",
    effect="It is no point in time: an hour is lost or doubled twice a year, and servers in other zones read another"
    " one.",
    safe_way="timestamptz, which takes the same eight bytes.",
    bad="CREATE TABLE visits (id bigint PRIMARY KEY, seen_at timestamp);",
    good="CREATE TABLE visits (id bigint PRIMARY KEY, seen_at timestamptz);",
    source="PostgreSQL wiki, “Don't Do This”; squawk, prefer-timestamp-tz",
    on=(CreateTable, AddColumn, AlterColumnType),
    check=_check,
)
