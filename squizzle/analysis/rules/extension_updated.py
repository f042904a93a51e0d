"""An extension changes what it brought."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import Alter
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import Context, Hit, Rule


def _check(action: Alter, _context: Context) -> Iterator[Hit]:
    if action.kind == "EXTENSION":
        yield Hit(message=f"changes the objects of {action.name} to another version, and hardly any goes back")


RULE = Rule(
    code="S113",
    name="extension-updated",
    severity=Severity.WARNING,
    condition="ALTER EXTENSION … UPDATE.",
    effect="Its functions and types change under the code that uses them, and extensions seldom bring a script that"
    " goes back.",
    safe_way="Rehearse it on a copy with the same packages; take a backup right before.",
    bad="ALTER EXTENSION plpgsql UPDATE;",
    good="CREATE EXTENSION IF NOT EXISTS plpgsql;",
    source="PostgreSQL manual, ALTER EXTENSION; squawk, ban-alter-extension",
    on=(Alter,),
    check=_check,
)
