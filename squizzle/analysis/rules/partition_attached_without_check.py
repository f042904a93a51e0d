"""A partition is read from end to end while it is attached."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import AttachPartition
from squizzle.analysis.columns import ConstraintKind
from squizzle.analysis.findings import Severity
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import Effect
from squizzle.analysis.rules.rule import Context, Hit, Rule
from squizzle.analysis.rules.words import LATER, alter, name_for


def _check(action: AttachPartition, context: Context) -> Iterator[Hit]:
    checks = context.known(action.partition).constraints.values()
    proven = any(one.kind is ConstraintKind.CHECK and one.validated for one in checks)
    if proven or context.is_new(action.partition) or context.is_new(action.table):
        return
    table, check = alter(action.partition), name_for(action.partition, "bounds")
    yield Hit(
        message=f"reads all of {action.partition} before it becomes a partition of {action.table}",
        hint=f"{table} ADD CONSTRAINT {check} CHECK (…) NOT VALID; -- the bounds, and the key IS NOT NULL\n{LATER}\n"
        f"{table} VALIDATE CONSTRAINT {check};\n-- then ATTACH PARTITION, then\n{table} DROP CONSTRAINT {check};",
        relation=action.partition,
        mode=LockMode.ACCESS_EXCLUSIVE,
    )


RULE = Rule(
    code="L105",
    name="partition-attached-without-check",
    severity=Severity.WARNING,
    condition="ATTACH PARTITION of a table for which no script validated a CHECK of the partition's bounds.",
    effect="All rows are read under ACCESS EXCLUSIVE on the new partition; with a default partition, that is read and"
    " locked as well.",
    safe_way="A valid CHECK constraint that implies the bounds (NOT NULL included) makes the scan unnecessary.",
    bad="ALTER TABLE events ATTACH PARTITION events_2026 FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');",
    good="""\
BEGIN;
ALTER TABLE events_2026 ADD CONSTRAINT events_2026_bounds
    CHECK (happened_on IS NOT NULL AND happened_on >= '2026-01-01' AND happened_on < '2027-01-01') NOT VALID;
COMMIT;
BEGIN;
ALTER TABLE events_2026 VALIDATE CONSTRAINT events_2026_bounds;
COMMIT;
BEGIN;
ALTER TABLE events ATTACH PARTITION events_2026 FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
COMMIT;""",
    source="PostgreSQL manual, ALTER TABLE, ATTACH PARTITION; measured on 15 and 18",
    on=(AttachPartition,),
    check=_check,
    does=Effect.READS_ALL,
)
