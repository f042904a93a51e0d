"""A new value lands at the end of the order."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import AlterEnum
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import Context, Hit, Rule
from squizzle.analysis.rules.words import qualified


def _check(action: AlterEnum, _context: Context) -> Iterator[Hit]:
    if not action.old_value and not action.has_place:
        value = action.value.replace("'", "''")
        yield Hit(
            message=f"{action.value} becomes the greatest value of {action.name}",
            hint=f"ALTER TYPE {qualified(action.name)} ADD VALUE '{value}' AFTER '…';",
        )


RULE = Rule(
    code="T107",
    name="enum-value-without-place",
    severity=Severity.INFO,
    condition="ALTER TYPE … ADD VALUE without BEFORE or AFTER.",
    effect="ORDER BY and < follow the order of the values, and that cannot be changed afterwards.",
    safe_way="Say where it belongs, even if that is the end.",
    bad="ALTER TYPE order_status ADD VALUE 'returned';",
    good="ALTER TYPE order_status ADD VALUE 'returned' AFTER 'shipped';",
    source="squawk, require-enum-value-ordering",
    on=(AlterEnum,),
    check=_check,
)
