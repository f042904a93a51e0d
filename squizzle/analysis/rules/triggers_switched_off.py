"""What keeps rows right is switched off or dropped."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import Action, AlterTable, Drop, SetParameter
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import Context, Hit, Rule, Way
from squizzle.analysis.rules.words import alter, quoted

_COMMANDS = {
    "DisableTrig": "the trigger {column} of {table}",
    "DisableTrigAll": "all triggers of {table}, those of its foreign keys included",
    "DisableTrigUser": "all triggers of {table} but those of foreign keys",
    "DisableRule": "the rule {column} of {table}",
}


def _check(action: Action, context: Context) -> Iterator[Hit]:
    if isinstance(action, SetParameter):
        if action.name == "session_replication_role" and action.value.lower() not in {"", "origin"}:
            yield Hit(
                message="switches off all triggers and the check of every foreign key for this session",
                severity=Severity.ERROR,
            )
    elif isinstance(action, AlterTable):
        if action.command in _COMMANDS and not context.is_new(action.table):
            what = _COMMANDS[action.command].format(column=action.column, table=action.table)
            yield Hit(
                message=f"switches off {what}", hint=_enable(action), relation=action.table, location=action.location
            )
    elif isinstance(action, Drop) and action.kind in {"TRIGGER", "RULE"} and context.way is Way.UP:
        for table, name in zip(action.names, action.parts, strict=False):
            if not context.is_new(table):
                yield Hit(message=f"drops the {action.kind.lower()} {name} of {table}", relation=table)


def _enable(action: AlterTable) -> str:
    kind = "RULE" if action.command == "DisableRule" else "TRIGGER"
    name = {"DisableTrigAll": "ALL", "DisableTrigUser": "USER"}.get(action.command) or quoted(action.column)
    return f"{alter(action.table)} ENABLE {kind} {name}; -- in the same transaction, whatever happens between"


RULE = Rule(
    code="D110",
    name="triggers-switched-off",
    severity=Severity.WARNING,
    condition="session_replication_role = replica, DISABLE TRIGGER or RULE, DROP TRIGGER or RULE of a table that was"
    " there"
    " before.",
    effect="Rows that are written meanwhile, also by others, are not checked, logged or completed; foreign keys may"
    " point to"
    " nothing and nobody is told later.",
    safe_way="A setting of your own that the trigger's function asks for, with SET LOCAL.",
    bad="ALTER TABLE orders DISABLE TRIGGER orders_touch;",
    good="SET LOCAL shop.keep_placed_at = 'on';",
    source="PostgreSQL manual, session_replication_role; ALTER TABLE, DISABLE TRIGGER; measured on 15 and 18",
    on=(SetParameter, AlterTable, Drop),
    check=_check,
)
