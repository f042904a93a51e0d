"""A table is written anew to win space or order."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import Vacuum
from squizzle.analysis.findings import Severity
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import Effect
from squizzle.analysis.rules.rule import Context, Hit, Rule
from squizzle.analysis.rules.words import qualified


def _check(action: Vacuum, context: Context) -> Iterator[Hit]:
    if not action.is_full:
        return
    command = "CLUSTER" if action.command == "CLUSTER" else "VACUUM FULL"
    for table in action.tables or (None,):
        if not context.is_new(table):
            yield Hit(
                message=f"{command} writes {table or 'every table'} and its indexes anew while nobody can use it",
                hint=f"VACUUM {qualified(table)}; -- and pg_repack, if the space has to go back" if table else "",
                relation=table,
                mode=LockMode.ACCESS_EXCLUSIVE,
            )


RULE = Rule(
    code="L121",
    name="vacuum-full-or-cluster",
    severity=Severity.WARNING,
    condition="VACUUM FULL or CLUSTER.",
    effect="The table and all its indexes are written anew under ACCESS EXCLUSIVE: reads and writes wait for as long.",
    safe_way="Plain VACUUM keeps the space for new rows; pg_repack gives it back while clients work.",
    bad="CLUSTER orders USING orders_status_idx;",
    good="VACUUM orders;",
    source="PostgreSQL manual, VACUUM and CLUSTER; measured on 15 and 18",
    on=(Vacuum,),
    check=_check,
    does=Effect.REWRITES,
)
