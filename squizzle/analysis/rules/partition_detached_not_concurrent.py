"""A partition is detached while everybody waits."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import DetachPartition
from squizzle.analysis.findings import Severity
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.rules.rule import Context, Hit, Rule
from squizzle.analysis.rules.words import alter, qualified


def _check(action: DetachPartition, context: Context) -> Iterator[Hit]:
    if not action.concurrently and not context.is_new(action.table):
        yield Hit(
            message=f"detaches {action.partition} while nobody can read or write any partition of {action.table}",
            hint=f"{alter(action.table)} DETACH PARTITION {qualified(action.partition)} CONCURRENTLY;",
            relation=action.table,
            mode=LockMode.ACCESS_EXCLUSIVE,
        )


RULE = Rule(
    code="L104",
    name="partition-detached-not-concurrent",
    severity=Severity.WARNING,
    condition="DETACH PARTITION without CONCURRENTLY.",
    effect="ACCESS EXCLUSIVE on the partitioned table: every query of any of its partitions waits.",
    safe_way="DETACH PARTITION … CONCURRENTLY (not possible while there is a default partition).",
    bad="ALTER TABLE events DETACH PARTITION events_2025;",
    good="ALTER TABLE events DETACH PARTITION events_2025 CONCURRENTLY;",
    source="PostgreSQL manual, ALTER TABLE, DETACH PARTITION; measured on 15 and 18",
    on=(DetachPartition,),
    check=_check,
)
