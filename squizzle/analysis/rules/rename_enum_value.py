"""A value of an enum is called anew."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import AlterEnum
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import UP_ONLY, Context, Hit, Rule
from squizzle.analysis.rules.words import qualified


def _check(action: AlterEnum, _context: Context) -> Iterator[Hit]:
    if action.old_value:
        old, new = (text.replace("'", "''") for text in (action.old_value, action.value))
        yield Hit(
            message=f"renames {action.old_value} of {action.name}: code that runs now writes and compares"
            f" {action.old_value}",
            hint=f"ALTER TYPE {qualified(action.name)} ADD VALUE '{new}' AFTER '{old}';",
        )


RULE = Rule(
    code="C105",
    name="rename-enum-value",
    severity=Severity.ERROR,
    condition="ALTER TYPE … RENAME VALUE.",
    effect="Queries of the running release that write or compare the old value fail: invalid input value for enum.",
    safe_way="Add the new value, let the code know both, change the rows in batches.",
    bad="ALTER TYPE order_status RENAME VALUE 'new' TO 'open';",
    good="ALTER TYPE order_status ADD VALUE 'open' AFTER 'new';",
    source="strong_migrations, renaming an enum value",
    on=(AlterEnum,),
    check=_check,
    ways=UP_ONLY,
)
