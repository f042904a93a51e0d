"""Somebody may no longer do what he did."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import Grant
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import UP_ONLY, Context, Hit, Rule


def _check(action: Grant, context: Context) -> Iterator[Hit]:
    if action.is_grant or action.to_public or action.for_new_ones:
        return
    if action.names and all(map(context.is_new, action.names)):
        return
    names = ", ".join(map(str, action.names)) or f"a {action.kind.lower()}"
    what = ", ".join(word.upper() for word in action.privileges) or "all privileges"
    yield Hit(message=f"takes {what} on {names} away", relation=action.names[0] if action.names else None)


RULE = Rule(
    code="C114",
    name="privileges-revoked",
    severity=Severity.WARNING,
    condition="REVOKE from a role on something that was there before. From PUBLIC it is what security asks for.",
    effect="Queries of a running release that logs in as that role fail: permission denied.",
    safe_way="Look who uses it (pg_stat_statements, logs) before; grant to the new role first.",
    bad="REVOKE SELECT ON orders FROM pg_monitor;",
    good="GRANT SELECT ON orders TO pg_monitor;",
    source="squawk, ban-revoke",
    on=(Grant,),
    check=_check,
    ways=UP_ONLY,
)
