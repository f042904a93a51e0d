"""UPDATE or DELETE reaches every row."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import Action, ChangeRows, Reach, Verb
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import Context, Hit, Rule, Where
from squizzle.analysis.rules.words import qualified

_SAYS = {Reach.ALL: "has no WHERE", Reach.ALL_BY_A_CONSTANT: "has a WHERE that always holds"}


def _check(action: Action, context: Context) -> Iterator[Hit]:
    if not isinstance(action, ChangeRows) or action.reach is Reach.SOME or context.is_new(action.table):
        return
    is_delete = action.verb is Verb.DELETE
    table = qualified(action.table)
    yield Hit(
        message=f"{action.verb} of {action.table} {_SAYS[action.reach]}: it reaches every row",
        hint=f"say which rows of {table}: WHERE …",
        relation=action.table,
        location=action.location,
        severity=Severity.ERROR if is_delete else Severity.WARNING,
    )


RULE = Rule(
    code="D101",
    name="rows-without-where",
    severity=Severity.ERROR,
    condition="DELETE or UPDATE without a WHERE, or with one that holds for every row, also in WITH, DO and functions.",
    effect="Every row is gone or changed; a down script cannot bring the old values back.",
    safe_way="Say which rows. A backfill says it, too: WHERE new_column IS NULL; large ones in batches.",
    bad="DELETE FROM orders WHERE true;",
    good="DELETE FROM orders WHERE status = 'cancelled';",
    source="PostgreSQL manual, DELETE and UPDATE",
    on=(ChangeRows,),
    check=_check,
    places=frozenset(Where),
)
