"""An index on a partitioned table locks all partitions, and cannot be built CONCURRENTLY."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import CreateIndex
from squizzle.analysis.findings import Severity
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.rules.rule import Context, Hit, Rule
from squizzle.analysis.rules.words import beside, bracketed, name_for, qualified, quoted


def _check(action: CreateIndex, context: Context) -> Iterator[Hit]:
    is_meant = context.known(action.table).is_partitioned and not action.only
    if not is_meant or context.is_new(action.table):
        return
    unique = "UNIQUE " if action.is_unique else ""
    columns, name = bracketed(action.columns), quoted(action.index or f"{action.table.name}_new_idx")
    parts = [
        f"CREATE {unique}INDEX CONCURRENTLY {name_for(part, *action.columns, 'idx')} ON {qualified(part)} {columns};\n"
        f"ALTER INDEX {beside(action.table, name)} ATTACH PARTITION"
        f" {beside(part, name_for(part, *action.columns, 'idx'))};"
        for part in context.state.known.partitions_of(action.table)
    ]
    refused, slow = "PostgreSQL refuses CONCURRENTLY on", "no partition can be written while it reads all of"
    yield Hit(
        message=f"{action.table} is partitioned: {refused if action.concurrently else slow} {action.table}",
        hint="\n".join([f"CREATE {unique}INDEX {name} ON ONLY {qualified(action.table)} {columns};", *parts]),
        relation=action.table,
        mode=None if action.concurrently else LockMode.SHARE,
        location=action.location,
        severity=Severity.ERROR if action.concurrently else None,
    )


RULE = Rule(
    code="L127",
    name="partitioned-index",
    severity=Severity.WARNING,
    condition="CREATE INDEX on a table that earlier scripts made partitioned.",
    effect="SHARE on the table and every partition while all rows are read; with CONCURRENTLY it fails.",
    safe_way="ON ONLY the parent, CONCURRENTLY on each partition, then ATTACH PARTITION each of those.",
    bad="CREATE INDEX events_kind ON events (kind);",
    good="""\
CREATE INDEX events_kind ON ONLY events (kind);
CREATE INDEX CONCURRENTLY events_2025_kind ON events_2025 (kind);
ALTER INDEX events_kind ATTACH PARTITION events_2025_kind;""",
    source="PostgreSQL manual, CREATE INDEX, CONCURRENTLY; measured on 15 and 18",
    on=(CreateIndex,),
    check=_check,
    needs_history=True,
)
