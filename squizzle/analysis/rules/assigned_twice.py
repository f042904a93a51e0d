"""A column is given two values."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.findings import Severity
from squizzle.analysis.row_actions import ChangeRows, Verb
from squizzle.analysis.rules.rule import EVERYWHERE, Context, Hit, Rule


def _check(action: ChangeRows, _context: Context) -> Iterator[Hit]:
    twice = sorted({column for column in action.columns if action.columns.count(column) > 1})
    if twice and action.verb in {Verb.UPDATE, Verb.INSERT} and _are_plain(action):
        yield Hit(
            message=f"{action.verb} of {action.table} gives {', '.join(twice)} two values",
            relation=action.table,
            location=action.location,
        )


def _are_plain(action: ChangeRows) -> bool:
    """Whether the columns are whole ones: `a[1] = …, a[2] = …` sets the same column twice and is fine."""
    return not action.sets_parts


RULE = Rule(
    code="T110",
    name="assigned-twice",
    severity=Severity.ERROR,
    condition="UPDATE or INSERT that names a column twice.",
    effect="PostgreSQL refuses it: multiple assignments to same column.",
    safe_way="Each column once.",
    bad="UPDATE users SET age = 1, age = 2 WHERE id = 1;",
    good="UPDATE users SET age = 2 WHERE id = 1;",
    source="squawk, ban-duplicate-column-assignments",
    on=(ChangeRows,),
    check=_check,
    places=EVERYWHERE,
    refused="42601",
)
