"""What cannot be judged is not harmless."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import Unknown
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import EVERYWHERE, Context, Hit, Rule


def _check(action: Unknown, _context: Context) -> Iterator[Hit]:
    yield Hit(message=f"nobody can say what this statement does: {action.reason}", location=action.location)


RULE = Rule(
    code="U101",
    name="unknown-statement",
    severity=Severity.WARNING,
    condition="A statement that the grammar of PostgreSQL 18 does not know, that is too much for its parser, or that no"
    " rule can judge; also in DO and functions.",
    effect="Its locks and its reach are not known before it runs.",
    safe_way="Write it in a form that can be parsed, long or deeply nested ones in parts; rehearse it on a copy.",
    bad="SELEC 1;",
    good="SELECT 1;",
    source="What is not understood is reported, never passed over",
    on=(Unknown,),
    check=_check,
    places=EVERYWHERE,
    refused="42601",
)
