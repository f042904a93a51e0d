"""CASCADE drops what the script does not name."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import Action, Drop, DropColumn, DropConstraint
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import EVERYWHERE, Context, Hit, Rule

_THEIR_OWN = frozenset({"SCHEMA", "OWNED"})


def _check(action: Action, context: Context) -> Iterator[Hit]:
    if isinstance(action, Drop):
        if action.cascade and action.kind not in _THEIR_OWN and not all(map(context.is_new, action.names)):
            named = f"{action.kind} {', '.join(map(str, action.names))}"
            yield Hit(message=f"DROP {named} CASCADE drops what depends on it, too: {_what(action.kind)}")
    elif isinstance(action, DropColumn | DropConstraint) and action.cascade and not context.is_new(action.table):
        is_column = isinstance(action, DropColumn)
        name = action.column if isinstance(action, DropColumn) else action.name
        what = "views, foreign keys and other columns" if is_column else "foreign keys of other tables"
        yield Hit(message=f"CASCADE drops what depends on {name} of {action.table}, too: {what}", relation=action.table)


def _what(kind: str) -> str:
    if kind in {"TYPE", "DOMAIN"}:
        return "columns of tables with all their values, under ACCESS EXCLUSIVE"
    if kind in {"FUNCTION", "PROCEDURE", "ROUTINE", "AGGREGATE", "OPERATOR"}:
        return "triggers, policies, defaults, indexes and generated columns, under ACCESS EXCLUSIVE on their tables"
    if kind == "EXTENSION":
        return "columns of its types with all their values, indexes, functions"
    return "views, foreign keys, defaults"


RULE = Rule(
    code="D106",
    name="drop-cascade",
    severity=Severity.ERROR,
    condition="CASCADE at any DROP (that of schemas and owners has a rule of its own).",
    effect="What depends on it goes as well, on this database perhaps more than on the one it was tried on, and"
    " every table"
    " that is touched is locked.",
    safe_way="Without CASCADE PostgreSQL lists what depends on it; drop those one by one, by name.",
    bad="DROP TYPE order_status CASCADE;",
    good="DROP VIEW open_orders;\nDROP TYPE point_3d;",
    source="PostgreSQL manual, Dependency Tracking; measured on 15 and 18",
    on=(Drop, DropColumn, DropConstraint),
    check=_check,
    places=EVERYWHERE,
)
