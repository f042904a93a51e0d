"""UPDATE or DELETE reaches every row."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import ChangeRows, Reach, Verb
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import EVERYWHERE, Context, Hit, Rule
from squizzle.analysis.rules.words import qualified

_SAYS = {Reach.ALL: "has no WHERE", Reach.ALL_BY_A_CONSTANT: "has a WHERE that always holds"}


def _check(action: ChangeRows, context: Context) -> Iterator[Hit]:
    if action.verb not in {Verb.UPDATE, Verb.DELETE} or action.reach is Reach.SOME or context.is_new(action.table):
        return
    is_delete = action.verb is Verb.DELETE
    if not is_delete and context.summary.statement.batch is not None:
        return  # whoever names a key and wants ranges of it means every row; rows that are gone are another matter
    yield Hit(
        message=f"{action.verb} of {action.table} {_SAYS[action.reach]}: it reaches every row",
        hint=f"say which rows of {qualified(action.table)}: WHERE …",
        relation=action.table,
        location=action.location,
        severity=Severity.ERROR if is_delete else Severity.WARNING,
    )


RULE = Rule(
    code="D101",
    name="rows-without-where",
    severity=Severity.ERROR,
    condition="DELETE or UPDATE without a WHERE, or with one that holds for every row, also in WITH, DO and functions;"
    " no UPDATE that is marked to run in batches.",
    effect="Every row is gone or changed; a down script cannot bring the old values back.",
    safe_way="Say which rows. A backfill says it, too: WHERE new_column IS NULL; large ones in batches"
    " (-- squizzle: batch key=id).",
    bad="DELETE FROM payments WHERE true;",
    good="DELETE FROM payments WHERE amount = 0;",
    source="PostgreSQL manual, DELETE and UPDATE",
    on=(ChangeRows,),
    check=_check,
    places=EVERYWHERE,
)
