"""Something moves to another schema."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import SetSchema
from squizzle.analysis.findings import Severity
from squizzle.analysis.locks.records import RelationName
from squizzle.analysis.rules.rule import UP_ONLY, Context, Hit, Rule
from squizzle.analysis.rules.words import qualified, quoted


def _check(action: SetSchema, context: Context) -> Iterator[Hit]:
    if context.is_new(action.name) or context.state.whole.has_view(action.name):
        return
    moved = RelationName(schema=action.new_schema, name=action.name.name)
    is_table = action.kind in {"TABLE", "VIEW"}
    yield Hit(
        message=f"moves {action.name} to the schema {action.new_schema}: code that runs now looks for it where it was",
        hint=f"ALTER {action.kind} {qualified(action.name)} SET SCHEMA {quoted(action.new_schema)};\n"
        f"CREATE VIEW {qualified(action.name)} AS SELECT * FROM {qualified(moved)};"
        if is_table
        else "",
        relation=action.name,
        severity=None if is_table else Severity.WARNING,
    )


RULE = Rule(
    code="C104",
    name="set-schema",
    severity=Severity.ERROR,
    condition="ALTER … SET SCHEMA.",
    effect="Queries of the running release do not find it, unless its search_path has the new schema.",
    safe_way="In the same transaction a view in the old place; or the new schema in everybody's search_path first.",
    bad="ALTER TABLE payments SET SCHEMA archive;",
    good="CREATE VIEW archive.payments AS SELECT * FROM payments;",
    source="squawk, ban-set-schema",
    on=(SetSchema,),
    check=_check,
    ways=UP_ONLY,
)
