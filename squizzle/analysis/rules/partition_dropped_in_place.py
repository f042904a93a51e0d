"""A partition is dropped under its parent."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import Drop
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import Context, Hit, Rule
from squizzle.analysis.rules.words import alter, qualified


def _check(action: Drop, context: Context) -> Iterator[Hit]:
    for name in action.names if action.kind == "TABLE" else ():
        parent = context.known(name).parent
        if parent is not None and not context.is_new(name):
            yield Hit(
                message=f"drops {name}, a partition of {parent}, under a lock that stops every query of {parent}",
                hint=f"{alter(parent)} DETACH PARTITION {qualified(name)} CONCURRENTLY;\nDROP TABLE {qualified(name)};",
                relation=parent,
            )


RULE = Rule(
    code="L107",
    name="partition-dropped-in-place",
    severity=Severity.WARNING,
    condition="DROP TABLE of what earlier scripts made a partition.",
    effect="ACCESS EXCLUSIVE on the partitioned table, too: every query of any of its partitions waits.",
    safe_way="DETACH PARTITION … CONCURRENTLY first.",
    bad="DROP TABLE events_2025;",
    good="ALTER TABLE events DETACH PARTITION events_2025 CONCURRENTLY;",
    source="Measured on 15 and 18",
    on=(Drop,),
    check=_check,
    needs_history=True,
)
