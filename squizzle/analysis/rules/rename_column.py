"""A column is called anew."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import Rename
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import UP_ONLY, Context, Hit, Rule
from squizzle.analysis.rules.words import LATER, alter, qualified, quoted, sql_type


def _check(action: Rename, context: Context) -> Iterator[Hit]:
    if action.kind != "COLUMN" or context.is_new(action.name):
        return
    table, old, new = alter(action.name), quoted(action.part), quoted(action.new_name)
    before = context.known(action.name).type_of(action.part)
    type_ = sql_type(before) if before is not None else "…"
    yield Hit(
        message=f"renames {action.part} of {action.name}: code that runs now asks for {action.part}",
        hint=f"{table} ADD COLUMN {new} {type_}; -- and let a trigger or the application write both\n{LATER}\n"
        f"UPDATE {qualified(action.name)} SET {new} = {old} WHERE {new} IS NULL; -- in batches\n"
        f"-- when no release uses {old} any more:\n{table} DROP COLUMN {old};",
        relation=action.name,
    )


RULE = Rule(
    code="C101",
    name="rename-column",
    severity=Severity.ERROR,
    condition="RENAME COLUMN of a table or view that was there before.",
    effect="Every query of the running release that names it fails, from the commit until the new release is"
    " everywhere.",
    safe_way="Add the new column, write both, fill it, move readers, drop the old one later.",
    bad="ALTER TABLE users RENAME COLUMN full_name TO display_name;",
    good="ALTER TABLE users ADD COLUMN display_name text;",
    source="PostgreSQL manual, ALTER TABLE, RENAME",
    on=(Rename,),
    check=_check,
    ways=UP_ONLY,
)
