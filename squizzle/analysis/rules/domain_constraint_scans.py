"""A domain's new constraint is held against every table that uses it."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import AlterDomain
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import Context, Hit, Rule
from squizzle.analysis.rules.words import LATER, name_for, qualified


def _check(action: AlterDomain, _context: Context) -> Iterator[Hit]:
    if action.adds_constraint and action.validated:
        domain, name = qualified(action.name), name_for(action.name, "check")
        yield Hit(
            message=f"reads every table that has a column of {action.name} while nobody can write to them",
            hint=f"ALTER DOMAIN {domain} ADD CONSTRAINT {name} CHECK (…) NOT VALID;\n{LATER}\n"
            f"ALTER DOMAIN {domain} VALIDATE CONSTRAINT {name};",
            relation=action.name,
        )


RULE = Rule(
    code="L124",
    name="domain-constraint-scans",
    severity=Severity.WARNING,
    condition="ALTER DOMAIN … ADD CONSTRAINT or SET NOT NULL without NOT VALID.",
    effect="SHARE lock on every table that uses the domain while all its rows are read: writes to all of them wait."
    " None of"
    " them is named in the statement.",
    safe_way="ADD CONSTRAINT … NOT VALID, then VALIDATE CONSTRAINT; better, a CHECK at each table.",
    bad="ALTER DOMAIN positive_amount ADD CONSTRAINT positive_amount_check CHECK (VALUE >= 0);",
    good="ALTER DOMAIN positive_amount ADD CONSTRAINT positive_amount_check CHECK (VALUE >= 0) NOT VALID;",
    source="PostgreSQL manual, ALTER DOMAIN; measured on 15 and 18",
    on=(AlterDomain,),
    check=_check,
)
