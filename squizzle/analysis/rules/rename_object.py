"""Something that code asks for by name is called anew."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import Rename
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import UP_ONLY, Context, Hit, Rule

_KINDS = frozenset(
    {"SCHEMA", "TYPE", "DOMAIN", "SEQUENCE", "FUNCTION", "PROCEDURE", "ROUTINE", "AGGREGATE", "ATTRIBUTE", "DATABASE"}
)


def _check(action: Rename, context: Context) -> Iterator[Hit]:
    if action.kind in _KINDS and not context.is_new(action.name):
        name = f"{action.name}.{action.part}" if action.part else str(action.name)
        yield Hit(
            message=f"renames the {action.kind.lower()} {name}: code that runs now asks for it by that name",
            severity=Severity.ERROR if action.kind in {"SCHEMA", "DATABASE"} else None,
        )


RULE = Rule(
    code="C103",
    name="rename-object",
    severity=Severity.WARNING,
    condition="RENAME of a schema, database, type, domain, attribute, sequence, function or procedure. Indexes,"
    " constraints"
    " and triggers have names that code seldom uses, and are left alone.",
    effect="Code that runs now asks for the old name and fails: casts, calls, nextval('…'), search_path.",
    safe_way="Make the new one beside the old one, move the code, drop the old one later.",
    bad="ALTER SEQUENCE invoice_numbers RENAME TO invoice_no;",
    good="CREATE SEQUENCE invoice_no;",
    source="squawk, renaming-object; strong_migrations, renaming a schema",
    on=(Rename,),
    check=_check,
    ways=UP_ONLY,
)
