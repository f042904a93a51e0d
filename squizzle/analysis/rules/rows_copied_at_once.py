"""A whole table is copied in one statement."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.findings import Severity
from squizzle.analysis.row_actions import ChangeRows, Reach, Verb
from squizzle.analysis.rules.rule import Context, Hit, Rule


def _check(action: ChangeRows, context: Context) -> Iterator[Hit]:
    if context.summary.statement.batch is not None:
        return
    if action.verb is Verb.INSERT and action.from_query and action.reach is Reach.ALL:
        yield Hit(
            message=f"fills {action.table} from all rows of another table in one statement",
            relation=action.table,
            location=action.location,
        )


RULE = Rule(
    code="L128",
    name="rows-copied-at-once",
    severity=Severity.INFO,
    condition="INSERT … SELECT from a table without WHERE or LIMIT.",
    effect="One long transaction: it keeps VACUUM from clearing up anywhere in the database, writes all WAL at once,"
    " and"
    " replicas fall behind. It changes no lock, so small tables need not care.",
    safe_way="Batches by key, each committed by itself (-- squizzle: batch key=id).",
    bad="INSERT INTO payments (number, order_id, amount) SELECT id + 1000, id, total FROM orders;",
    good="INSERT INTO payments (number, order_id, amount) SELECT id + 1000, id, total FROM orders WHERE id BETWEEN 1"
    " AND 1000;",
    source="PostgreSQL manual, Routine Vacuuming",
    on=(ChangeRows,),
    check=_check,
)
