"""A table is called anew."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import Rename
from squizzle.analysis.findings import Severity
from squizzle.analysis.locks.records import RelationName
from squizzle.analysis.rules.rule import UP_ONLY, Context, Hit, Rule
from squizzle.analysis.rules.words import qualified, quoted

_KINDS = frozenset({"TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE"})


def _check(action: Rename, context: Context) -> Iterator[Hit]:
    if action.kind not in _KINDS or action.part or context.is_new(action.name):
        return
    if context.state.whole.has_view(action.name):
        return
    new = RelationName(schema=action.name.schema, name=action.new_name)
    yield Hit(
        message=f"renames {action.name}: code that runs now asks for {action.name}",
        hint=f"ALTER {action.kind} {qualified(action.name)} RENAME TO {quoted(action.new_name)};\n"
        f"CREATE VIEW {qualified(action.name)} AS SELECT * FROM {qualified(new)};",
        relation=action.name,
    )


RULE = Rule(
    code="C102",
    name="rename-table",
    severity=Severity.ERROR,
    condition="RENAME of a table or view that was there before, without a view under the old name in the same script.",
    effect="Every query of the running release that names it fails, from the commit until the new release is"
    " everywhere.",
    safe_way="In the same transaction a view under the old name; simple views can be written to, too.",
    bad="ALTER TABLE addresses RENAME TO postal_addresses;",
    good="CREATE VIEW postal_addresses AS SELECT * FROM addresses;",
    source="PostgreSQL manual, ALTER TABLE, RENAME; CREATE VIEW, “Updatable Views”",
    on=(Rename,),
    check=_check,
    ways=UP_ONLY,
)
