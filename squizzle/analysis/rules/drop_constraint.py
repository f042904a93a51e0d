"""A rule that kept rows right goes."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import DropConstraint
from squizzle.analysis.columns import ConstraintKind
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import UP_ONLY, Context, Hit, Rule


def _check(action: DropConstraint, context: Context) -> Iterator[Hit]:
    known = context.known(action.table).constraints.get(action.name)
    if context.is_new(action.table) or (known is not None and known.proves_not_null):
        return
    what = f"the {known.kind} {action.name}" if known is not None else action.name
    others = f", and {known.references} cannot be read or written meanwhile" if known and known.references else ""
    yield Hit(
        message=f"drops {what} of {action.table}{others}",
        relation=action.table,
        severity=Severity.ERROR if known is not None and known.kind is ConstraintKind.PRIMARY_KEY else None,
    )


RULE = Rule(
    code="C108",
    name="drop-constraint",
    severity=Severity.WARNING,
    condition="DROP CONSTRAINT of a table that was there before; not of a CHECK that only helped SET NOT NULL.",
    effect="Rows that break it can come in, so that a down script cannot add it again; ON CONFLICT and REPLICA"
    " IDENTITY that"
    " rely on it fail; a foreign key's other table is locked ACCESS EXCLUSIVE, too.",
    safe_way="Only when no release relies on it; replace it by adding the new one first.",
    bad="ALTER TABLE orders DROP CONSTRAINT orders_user_id_fkey;",
    good="ALTER TABLE orders ADD CONSTRAINT orders_total_small CHECK (total < 100000) NOT VALID;",
    source="squawk, ban-drop-constraint; Atlas, CD101 to CD103; measured on 15 and 18",
    on=(DropConstraint,),
    check=_check,
    ways=UP_ONLY,
)
