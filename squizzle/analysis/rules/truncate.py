"""Tables are emptied."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.findings import Severity
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.row_actions import Truncate
from squizzle.analysis.rules.rule import EVERYWHERE, Context, Hit, Rule
from squizzle.analysis.rules.words import qualified


def _check(action: Truncate, context: Context) -> Iterator[Hit]:
    old = [table for table in action.tables if not context.is_new(table)]
    if not old:
        return
    names = ", ".join(map(str, old))
    more = ", and every table that refers to it, named or not" if action.cascade else ""
    yield Hit(
        message=f"TRUNCATE empties {names}{more}",
        hint="\n".join(f"DELETE FROM {qualified(table)} WHERE …;" for table in old),
        relation=old[0],
        mode=LockMode.ACCESS_EXCLUSIVE,
        location=action.location,
    )


RULE = Rule(
    code="D102",
    name="truncate",
    severity=Severity.ERROR,
    condition="TRUNCATE of a table that was there before; with CASCADE of all that refer to it, too.",
    effect="All rows are gone, no trigger ON DELETE sees them, and snapshots that began before find the table empty;"
    " reads"
    " and writes wait meanwhile.",
    safe_way="Delete the rows that are meant; to begin anew, rename the table, make an empty one, drop the old one"
    " later.",
    bad="TRUNCATE orders CASCADE;",
    good="DELETE FROM orders WHERE status = 'cancelled';",
    source="PostgreSQL manual, TRUNCATE; measured on 15 and 18",
    on=(Truncate,),
    check=_check,
    places=EVERYWHERE,
)
