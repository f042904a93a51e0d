"""All that a schema, a database or a role holds goes at once."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import Drop
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import EVERYWHERE, Context, Hit, Rule, Way

_KINDS = {
    "SCHEMA": "the schema {} and, with CASCADE, all that is in it",
    "DATABASE": "the database {}",
    "OWNED": "all that {} owns, and its privileges",
    "TABLESPACE": "the tablespace {}",
}


def _check(action: Drop, context: Context) -> Iterator[Hit]:
    if action.kind not in _KINDS or (action.kind == "SCHEMA" and not action.cascade and context.way is Way.DOWN):
        return
    names = ", ".join(map(str, action.names))
    hints = {"SCHEMA": "ALTER SCHEMA {0} RENAME TO {0}_gone;", "DATABASE": "ALTER DATABASE {0} RENAME TO {0}_gone;"}
    yield Hit(
        message=f"drops {_KINDS[action.kind].format(names)}",
        hint=hints.get(action.kind, "").format(action.names[0].name),
        severity=Severity.WARNING if action.kind == "SCHEMA" and not action.cascade else None,
    )


RULE = Rule(
    code="D105",
    name="drop-everything-in",
    severity=Severity.ERROR,
    condition="DROP DATABASE, DROP SCHEMA, DROP OWNED or DROP TABLESPACE.",
    effect="What is inside is gone, named or not; a database cannot be brought back by any rollback.",
    safe_way="Rename it, and drop it when nobody has missed it.",
    bad="DROP SCHEMA archive CASCADE;",
    good="ALTER SCHEMA archive RENAME TO archive_gone;",
    source="PostgreSQL manual, DROP DATABASE, DROP SCHEMA, DROP OWNED",
    on=(Drop,),
    check=_check,
    places=EVERYWHERE,
)
