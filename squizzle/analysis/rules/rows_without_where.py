"""UPDATE or DELETE reaches every row."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.findings import Severity
from squizzle.analysis.row_actions import ChangeRows, Reach, Verb
from squizzle.analysis.rules.rule import EVERYWHERE, Context, Hit, Rule
from squizzle.analysis.rules.words import qualified

_ARTICLES = {"ON": "an", "WHERE": "a"}


def _check(action: ChangeRows, context: Context) -> Iterator[Hit]:
    if action.verb is Verb.INSERT or action.reach is Reach.SOME or context.is_new(action.table):
        return
    is_delete = action.verb is Verb.DELETE
    if not is_delete and context.summary.statement.batch is not None:
        return  # whoever names a key and wants ranges of it means every row; rows that are gone are another matter
    word = "ON" if action.verb is Verb.MERGE else "WHERE"
    says = f"no {word}" if action.reach is Reach.ALL else f"{_ARTICLES[word]} {word} that always holds"
    yield Hit(
        message=f"{action.verb} of {action.table} has {says}: it reaches every row",
        hint=f"say which rows of {qualified(action.table)}: {word} …",
        relation=action.table,
        location=action.location,
        severity=Severity.WARNING if action.verb is Verb.UPDATE else Severity.ERROR,
    )


RULE = Rule(
    code="D101",
    name="rows-without-where",
    severity=Severity.ERROR,
    condition="DELETE or UPDATE without a WHERE, or with one that holds for every row (MERGE: an ON), also in WITH, DO,"
    " functions, rules and EXPLAIN ANALYZE; no UPDATE that is marked to run in batches.",
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
