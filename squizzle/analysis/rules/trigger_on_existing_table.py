"""A trigger or a rule joins every write of a table."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import Create
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import Context, Hit, Rule


def _check(action: Create, context: Context) -> Iterator[Hit]:
    if action.kind in {"TRIGGER", "RULE"} and action.table is not None and not context.is_new(action.table):
        kind = action.kind.lower()
        yield Hit(
            message=f"from now on the {kind} {action.name} takes part in every matching statement on {action.table}",
            relation=action.table,
            location=action.location,
        )


RULE = Rule(
    code="L126",
    name="trigger-on-existing-table",
    severity=Severity.INFO,
    condition="CREATE TRIGGER or CREATE RULE on a table that was there before.",
    effect="SHARE ROW EXCLUSIVE for a moment (a rule: ACCESS EXCLUSIVE); afterwards every write is slower, also"
    " those of"
    " batches and backfills, and one that fails makes the write fail.",
    safe_way="Measure the writes with it on a copy; a rule is hardly ever what is wanted, a trigger is.",
    bad="CREATE TRIGGER users_touch BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch_order();",
    good="""\
CREATE TABLE notes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    placed_at timestamptz
);
CREATE TRIGGER notes_touch BEFORE UPDATE ON notes FOR EACH ROW EXECUTE FUNCTION touch_order();""",
    source="PostgreSQL manual, CREATE TRIGGER; measured on 15 and 18",
    on=(Create,),
    check=_check,
)
