"""Something that code asks for by name goes."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import Drop
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import UP_ONLY, Context, Hit, Rule

_EFFECTS = {
    "VIEW": "queries of it fail",
    "MATERIALIZED VIEW": "queries of it fail, and its rows have to be computed anew",
    "FUNCTION": "calls of it fail",
    "PROCEDURE": "calls of it fail",
    "ROUTINE": "calls of it fail",
    "AGGREGATE": "calls of it fail",
    "TYPE": "casts to it fail",
    "DOMAIN": "casts to it fail",
    "SEQUENCE": "nextval fails, and the number it was at is lost",
    "EXTENSION": "its functions and operators are gone",
}


def _check(action: Drop, context: Context) -> Iterator[Hit]:
    for name in action.names if action.kind in _EFFECTS else ():
        if not context.is_new(name):
            yield Hit(message=f"drops the {action.kind.lower()} {name}: {_EFFECTS[action.kind]}", relation=name)


RULE = Rule(
    code="C107",
    name="drop-object",
    severity=Severity.WARNING,
    condition="DROP of a view, function, procedure, aggregate, type, domain, sequence or extension.",
    effect="Code that runs now and uses it fails, until the new release is everywhere.",
    safe_way="Stop using it in one release, drop it in a later one; to change it, CREATE OR REPLACE.",
    bad="DROP VIEW open_orders;",
    good="CREATE OR REPLACE VIEW open_orders AS SELECT id, user_id, total FROM orders WHERE status IN ('new', 'paid');",
    source="squawk, ban-drop-view, -function, -type, -domain, -sequence, -extension",
    on=(Drop,),
    check=_check,
    ways=UP_ONLY,
)
