"""Replicas get less than they need."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import Action, AlterTable, Drop
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import Context, Hit, Rule

_IDENTITIES = {
    "nothing": "UPDATE and DELETE of {} fail where it is published",
    "full": "every UPDATE and DELETE of {} writes the whole old row into the WAL",
}


def _check(action: Action, context: Context) -> Iterator[Hit]:
    if isinstance(action, AlterTable):
        if action.value in _IDENTITIES and action.command == "ReplicaIdentity" and not context.is_new(action.table):
            says = _IDENTITIES[action.value].format(action.table)
            yield Hit(message=says, relation=action.table, location=action.location)
    elif isinstance(action, Drop) and action.kind in {"PUBLICATION", "SUBSCRIPTION"}:
        yield Hit(
            message=f"drops the {action.kind.lower()} {', '.join(map(str, action.names))}: replicas stop following"
        )


RULE = Rule(
    code="S111",
    name="replication-weakened",
    severity=Severity.WARNING,
    condition="REPLICA IDENTITY NOTHING or FULL, DROP PUBLICATION, DROP SUBSCRIPTION.",
    effect="Writes fail or grow, or a replica has to be copied anew.",
    safe_way="A primary key, and REPLICA IDENTITY DEFAULT.",
    bad="ALTER TABLE payments REPLICA IDENTITY NOTHING;",
    good="ALTER TABLE orders REPLICA IDENTITY DEFAULT;",
    source="PostgreSQL manual, Logical Replication; Atlas, PG314",
    on=(AlterTable, Drop),
    check=_check,
)
