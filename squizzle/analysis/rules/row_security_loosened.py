"""Rows become visible that were not."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import Action, Alter, AlterTable, Drop
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import Context, Hit, Rule


def _check(action: Action, context: Context) -> Iterator[Hit]:
    if isinstance(action, AlterTable):
        if action.command in {"DisableRowSecurity", "NoForceRowSecurity"} and not context.is_new(action.table):
            yield Hit(
                message=f"everybody who may read {action.table} sees all its rows from now on",
                relation=action.table,
                location=action.location,
            )
    elif isinstance(action, Alter):
        if action.kind == "POLICY" and not context.is_new(action.table):
            yield Hit(message=f"changes who sees which rows of {action.table}", relation=action.table)
    elif isinstance(action, Drop) and action.kind == "POLICY":
        for table, name in zip(action.names, action.parts, strict=False):
            if not context.is_new(table):
                yield Hit(
                    message=f"drops the policy {name}: other rows of {table} are visible from now on, or none",
                    relation=table,
                )


RULE = Rule(
    code="S108",
    name="row-security-loosened",
    severity=Severity.WARNING,
    condition="DISABLE or NO FORCE ROW LEVEL SECURITY, DROP POLICY, ALTER POLICY.",
    effect="Rows of one customer can become visible to another, at once and without an error; or none are visible"
    " any more.",
    safe_way="CREATE the new policy before dropping the old one; try it as the role that is meant (SET ROLE).",
    bad="DROP POLICY orders_of_their_own ON orders;",
    good="CREATE POLICY orders_of_friends ON orders USING (user_id = 1);",
    source="PostgreSQL manual, Row Security Policies; squawk, ban-drop-policy, ban-alter-policy-condition",
    on=(AlterTable, Alter, Drop),
    check=_check,
    severity_down=Severity.INFO,
)
