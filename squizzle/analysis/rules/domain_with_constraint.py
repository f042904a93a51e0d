"""A domain's constraint is hard to change later."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import CreateDomain
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import Context, Hit, Rule


def _check(action: CreateDomain, _context: Context) -> Iterator[Hit]:
    if action.has_constraint:
        yield Hit(message=f"the constraint of {action.name} binds every column of that type at once, now and later")


RULE = Rule(
    code="T108",
    name="domain-with-constraint",
    severity=Severity.INFO,
    condition="CREATE DOMAIN with CHECK or NOT NULL.",
    effect="To change it, all tables that use the domain are locked and read together; joins can make its NOT NULL"
    " untrue.",
    safe_way="A CHECK at each table.",
    bad="CREATE DOMAIN percentage AS integer CHECK (VALUE BETWEEN 0 AND 100);",
    good="CREATE DOMAIN percentage AS integer;",
    source="PostgreSQL manual, CREATE DOMAIN, Notes; squawk, ban-create-domain-with-constraint",
    on=(CreateDomain,),
    check=_check,
)
