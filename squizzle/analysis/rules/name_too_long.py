"""A name is cut off."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import LongName
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import Context, Hit, Rule


def _check(action: LongName, _context: Context) -> Iterator[Hit]:
    kept = action.name.encode()[:_LONGEST].decode(errors="ignore")
    yield Hit(message=f"PostgreSQL cuts {action.name} off to {kept}", location=action.location)


_LONGEST = 63

RULE = Rule(
    code="T109",
    name="name-too-long",
    severity=Severity.WARNING,
    condition="A name of more than 63 bytes.",
    effect="PostgreSQL cuts it off with no more than a notice; two names that begin alike become one, and a later"
    " script that"
    " looks it up in the catalogue does not find it.",
    safe_way="A shorter name.",
    bad="ALTER TABLE users ADD COLUMN the_date_on_which_this_user_last_agreed_to_the_terms_and_conditions date;",
    good="ALTER TABLE users ADD COLUMN terms_agreed_on date;",
    source="PostgreSQL manual, Identifiers and Key Words; squawk, identifier-too-long",
    on=(LongName,),
    check=_check,
)
