"""A table that a crash empties."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import Action, AlterTable, CreateTable
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import Context, Hit, Rule


def _check(action: Action, context: Context) -> Iterator[Hit]:
    if isinstance(action, CreateTable) and action.is_unlogged:
        yield Hit(message=f"{action.table} is empty after a crash", relation=action.table, location=action.location)
    elif isinstance(action, AlterTable) and action.command == "SetUnLogged" and not context.is_new(action.table):
        yield Hit(
            message=f"from now on a crash empties {action.table}",
            relation=action.table,
            location=action.location,
            severity=Severity.ERROR,
        )


RULE = Rule(
    code="D109",
    name="unlogged-table",
    severity=Severity.WARNING,
    condition="CREATE UNLOGGED TABLE or SET UNLOGGED.",
    effect="After a crash it is empty; replicas, physical backups and point-in-time recovery never have its rows.",
    safe_way="Leave it logged, unless it can be filled again from elsewhere.",
    bad="CREATE UNLOGGED TABLE counters (id bigint PRIMARY KEY, hits bigint);",
    good="CREATE TABLE counters (id bigint PRIMARY KEY, hits bigint);",
    source="PostgreSQL manual, CREATE TABLE, UNLOGGED",
    on=(CreateTable, AlterTable),
    check=_check,
)
