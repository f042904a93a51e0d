"""A type that surprises."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import Action, AddColumn, AlterColumnType, CreateTable
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.columns_said import typed_columns
from squizzle.analysis.rules.rule import Context, Hit, Rule
from squizzle.analysis.rules.words import quoted

_TYPES = {
    "bpchar": ("pads with blanks, which count or do not count depending on the comparison", "text"),
    "money": ("depends on lc_monetary, also when it is read", "numeric(12, 2)"),
    "timetz": ("has an offset but no date to know its time zone by", "timestamptz"),
}


def _check(action: Action, _context: Context) -> Iterator[Hit]:
    for name, type_, location in typed_columns(action):
        if type_.name in _TYPES:
            why, better = _TYPES[type_.name]
            said = "char" if type_.name == "bpchar" else type_.name
            yield Hit(message=f"{name} is {said}, which {why}", hint=f"{quoted(name)} {better}", location=location)


RULE = Rule(
    code="T103",
    name="odd-type",
    severity=Severity.INFO,
    condition="A column of type char(n), money or timetz.",
    effect="Values do not come back as they went in.",
    safe_way="text (with a CHECK of the length), numeric, timestamptz.",
    bad="CREATE TABLE countries (id bigint PRIMARY KEY, code char(2));",
    good="CREATE TABLE countries (id bigint PRIMARY KEY, code text CHECK (length(code) = 2));",
    source="PostgreSQL wiki, “Don't Do This”; squawk, ban-char-field",
    on=(CreateTable, AddColumn, AlterColumnType),
    check=_check,
)
