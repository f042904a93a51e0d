"""Something that is no part of the database."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import Action, Alter, Create, Drop
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import Context, Hit, Rule

_CLOSED = frozenset({("allow_connections", "false"), ("connection_limit", "0")})
_CREATES = frozenset({"ROLE", "DATABASE", "TABLESPACE"})


def _check(action: Action, _context: Context) -> Iterator[Hit]:
    if isinstance(action, Create) and action.kind in _CREATES:
        yield Hit(message=f"makes the {action.kind.lower()} {action.name}, which is no part of the database")
    elif isinstance(action, Drop) and action.kind == "ROLE":
        yield Hit(message=f"drops the role {', '.join(map(str, action.names))}, which other databases may need")
    elif isinstance(action, Alter) and action.kind == "DATABASE":
        is_closed = any(option in _CLOSED for option in action.options)
        says = "lets nobody in any more" if is_closed else "changes how it is set up"
        yield Hit(
            message=f"ALTER DATABASE {action.name} {says}",
            severity=Severity.ERROR if is_closed else Severity.WARNING,
        )


RULE = Rule(
    code="S112",
    name="beyond-the-database",
    severity=Severity.INFO,
    condition="CREATE or DROP of a role, CREATE of a database or tablespace, ALTER DATABASE.",
    effect="It belongs to the whole cluster: no backup of the database has it, and a second database of the same"
    " cluster, a"
    " rehearsal's for example, meets it again.",
    safe_way="Where servers are set up; in a migration only with a test whether it is there.",
    bad="CREATE ROLE shop_reader NOLOGIN;",
    good="GRANT SELECT ON users TO pg_monitor;",
    source="PostgreSQL manual, Managing Databases; squawk, ban-alter-database-options",
    on=(Create, Drop, Alter),
    check=_check,
)
