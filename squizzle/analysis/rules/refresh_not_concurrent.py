"""A materialized view is filled anew while its readers wait."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import Refresh
from squizzle.analysis.findings import Severity
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import Effect
from squizzle.analysis.rules.rule import Context, Hit, Rule
from squizzle.analysis.rules.words import qualified


def _check(action: Refresh, context: Context) -> Iterator[Hit]:
    if not action.concurrently and not context.is_new(action.table):
        yield Hit(
            message=f"fills {action.table} anew while nobody can read it",
            hint=f"REFRESH MATERIALIZED VIEW CONCURRENTLY {qualified(action.table)};",
            relation=action.table,
            mode=LockMode.ACCESS_EXCLUSIVE,
            location=action.location,
        )


RULE = Rule(
    code="L122",
    name="refresh-not-concurrent",
    severity=Severity.WARNING,
    condition="REFRESH MATERIALIZED VIEW without CONCURRENTLY.",
    effect="ACCESS EXCLUSIVE on the view for as long as its query takes, and until the transaction ends.",
    safe_way="REFRESH … CONCURRENTLY lets readers through; it needs a unique index over all rows.",
    bad="REFRESH MATERIALIZED VIEW sales;",
    good="REFRESH MATERIALIZED VIEW CONCURRENTLY sales;",
    source="PostgreSQL manual, REFRESH MATERIALIZED VIEW; measured on 15 and 18",
    on=(Refresh,),
    check=_check,
    does=Effect.REWRITES,
)
