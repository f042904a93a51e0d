"""What cannot be judged is not harmless."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import Unknown
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import Context, Hit, Rule


def _check(action: Unknown, _context: Context) -> Iterator[Hit]:
    yield Hit(message=f"nobody can say what this statement does: {action.reason}")


RULE = Rule(
    code="U101",
    name="unknown-statement",
    severity=Severity.WARNING,
    condition="A statement that the grammar of PostgreSQL 18 does not know, or that no rule can judge.",
    effect="Its locks and its reach are not known before it runs.",
    safe_way="Write it in a form that can be parsed; rehearse it on a copy.",
    bad="SELEC 1;",
    good="SELECT 1;",
    source="What is not understood is reported, never passed over",
    on=(Unknown,),
    check=_check,
    refused="42601",
)
