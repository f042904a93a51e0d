"""Everybody may."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import Grant
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import Context, Hit, Rule
from squizzle.analysis.rules.words import qualified


def _check(action: Grant, _context: Context) -> Iterator[Hit]:
    if action.is_grant and action.to_public:
        what = ", ".join(word.upper() for word in action.privileges) or "ALL"
        names = ", ".join(map(qualified, action.names))
        kind = f"a {action.kind.lower()}"
        grant = f"GRANT {what} ON {action.kind} {names or '…'}"
        if action.for_new_ones:
            kind = f"every {action.kind.lower()} that is made from now on"
            grant = f"ALTER DEFAULT PRIVILEGES GRANT {what} ON {action.kind}S"
        yield Hit(
            message=f"grants {what} on {names or kind} to everybody who can log in",
            hint=f"{grant} TO …; -- the roles that need it",
            relation=action.names[0] if action.names else None,
            severity=Severity.ERROR if action.privileges not in {("select",), ("usage",), ("execute",)} else None,
        )


RULE = Rule(
    code="S101",
    name="grant-to-public",
    severity=Severity.WARNING,
    condition="GRANT … TO PUBLIC; an error for more than SELECT, USAGE or EXECUTE.",
    effect="Every role of the cluster has it, those made later and those for monitoring, too.",
    safe_way="Grant to the roles that need it.",
    bad="GRANT ALL ON orders TO PUBLIC;",
    good="GRANT SELECT ON orders TO pg_monitor;",
    source="PostgreSQL manual, Privileges",
    on=(Grant,),
    check=_check,
)
