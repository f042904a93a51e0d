"""A column goes with its values."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import DropColumn
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import EVERYWHERE, Context, Hit, Rule
from squizzle.analysis.rules.words import alter, qualified, quoted


def _check(action: DropColumn, context: Context) -> Iterator[Hit]:
    if context.is_new(action.table):
        return
    keys = context.known(action.table).constraints.values()
    others = [str(one.references) for one in keys if one.references is not None and action.column in one.columns]
    locks = f"; {', '.join(others)} cannot be read or written meanwhile" if others else ""
    more = ", and what depends on it" if action.cascade else ""
    yield Hit(
        message=f"drops {action.column} of {action.table} and all its values{more}{locks}",
        hint=f"COMMENT ON COLUMN {qualified(action.table)}.{quoted(action.column)} IS 'unused, to be dropped';\n"
        f"-- when no release reads it any more:\n{alter(action.table)} DROP COLUMN {quoted(action.column)};",
        relation=action.table,
    )


RULE = Rule(
    code="D104",
    name="drop-column",
    severity=Severity.ERROR,
    condition="DROP COLUMN of a table that was there before.",
    effect="Its values are gone, code that still names it fails, SELECT * changes, and a down script can only put an"
    " empty"
    " column at the end.",
    safe_way="Stop using it in one release, drop it in a later one; with foreign keys, drop those first.",
    bad="ALTER TABLE orders DROP COLUMN note;",
    good="COMMENT ON COLUMN orders.note IS 'unused, to be dropped';",
    source="PostgreSQL manual, ALTER TABLE, DROP COLUMN",
    on=(DropColumn,),
    check=_check,
    places=EVERYWHERE,
    severity_down=Severity.INFO,
)
