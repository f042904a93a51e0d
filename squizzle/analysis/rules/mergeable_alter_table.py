"""Several ALTER TABLE that could be one."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import AddColumn, AlterTable, AnyStatement, DropColumn
from squizzle.analysis.findings import Severity
from squizzle.analysis.locks.records import RelationName
from squizzle.analysis.rules.rule import Context, Hit, Rule
from squizzle.analysis.rules.words import alter
from squizzle.analysis.summary import Summary

_MERGEABLE = (AddColumn, DropColumn, AlterTable)
_ALONE = frozenset({"SetTableSpace", "SetLogged", "SetUnLogged", "SetAccessMethod"})


def _check(_action: AnyStatement, context: Context) -> Iterator[Hit]:
    if not context.in_transaction or not context.state.earlier:
        return
    table, before = _table_of(context.summary), _table_of(context.state.earlier[-1])
    if table is not None and table == before and not context.is_new(table):
        yield Hit(
            message=f"is an ALTER TABLE of {table} right behind another one",
            hint=f"{alter(table)} …, …; -- one statement, its commands separated by commas",
            relation=table,
        )


def _table_of(summary: Summary) -> RelationName | None:
    """The table of an ALTER TABLE whose commands can stand together with others."""
    tables = set()
    for action in summary.actions:
        if not isinstance(action, _MERGEABLE) or summary.statement.words[:2] != ("ALTER", "TABLE"):
            return None
        if isinstance(action, AlterTable) and action.command in _ALONE:
            return None
        tables.add(action.table)
    return tables.pop() if len(tables) == 1 else None


RULE = Rule(
    code="L132",
    name="mergeable-alter-table",
    severity=Severity.INFO,
    condition="ALTER TABLE of the same table as the statement before.",
    effect="Each looks the table up and locks it anew, and where both write it anew, it is written twice.",
    safe_way="One ALTER TABLE with several commands, separated by commas.",
    bad="ALTER TABLE users ADD COLUMN city text;\nALTER TABLE users ADD COLUMN zip text;",
    good="ALTER TABLE users ADD COLUMN city text, ADD COLUMN zip text;",
    source="PostgreSQL manual, ALTER TABLE, Notes",
    on=(AnyStatement,),
    check=_check,
)
