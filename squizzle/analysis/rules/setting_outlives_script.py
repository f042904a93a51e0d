"""A script changes how the server, a database or a role is set up."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import SetParameter
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import Context, Hit, Rule

_SCOPES = {
    "SYSTEM": "the whole server",
    "DATABASE": "every new session of a database",
    "ROLE": "every new session of a role",
}


def _check(action: SetParameter, _context: Context) -> Iterator[Hit]:
    if action.scope in _SCOPES:
        yield Hit(
            message=f"sets {action.name} for {_SCOPES[action.scope]}",
            hint=f"SET LOCAL {action.name} = '{action.value}'; -- for this script only",
            severity=Severity.ERROR if action.scope == "SYSTEM" else None,
        )


RULE = Rule(
    code="S103",
    name="setting-outlives-script",
    severity=Severity.WARNING,
    condition="ALTER SYSTEM, ALTER DATABASE … SET, ALTER ROLE … SET; an error for ALTER SYSTEM.",
    effect="It is no part of the database: no dump of it has it, a rehearsal on the same cluster changes production,"
    " and"
    " ALTER SYSTEM cannot be rolled back.",
    safe_way="SET LOCAL for what the script needs; the rest where servers are configured.",
    bad="ALTER ROLE CURRENT_USER SET work_mem = '64MB';",
    good="SET LOCAL work_mem = '64MB';",
    source="PostgreSQL manual, Setting Parameters",
    on=(SetParameter,),
    check=_check,
)
