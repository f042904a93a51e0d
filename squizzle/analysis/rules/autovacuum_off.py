"""Nobody clears up any more."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import Action, SetParameter, SetStorageOptions
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import Context, Hit, Rule
from squizzle.analysis.rules.words import alter

_NAMES = frozenset({"autovacuum_enabled", "toast.autovacuum_enabled"})


def _check(action: Action, context: Context) -> Iterator[Hit]:
    if isinstance(action, SetStorageOptions):
        for name, value in action.options:
            if name in _NAMES and value.lower() in {"false", "off", "0", "no"}:
                yield Hit(
                    message=f"switches autovacuum off for {action.table}",
                    hint=f"{alter(action.table)} RESET ({name});",
                    relation=action.table,
                    severity=Severity.INFO if context.is_new(action.table) else None,
                )
    elif isinstance(action, SetParameter) and action.name == "autovacuum" and action.value.lower() in {"off", "false"}:
        yield Hit(message="switches autovacuum off")


RULE = Rule(
    code="S105",
    name="autovacuum-off",
    severity=Severity.WARNING,
    condition="autovacuum_enabled = off for a table, or autovacuum off altogether.",
    effect="Dead rows stay, statistics grow old, and in the end PostgreSQL stops writing to save its transaction"
    " numbers.",
    safe_way="Tune it (autovacuum_vacuum_scale_factor, cost limits) instead of switching it off.",
    bad="ALTER TABLE orders SET (autovacuum_enabled = off);",
    good="ALTER TABLE orders SET (autovacuum_vacuum_scale_factor = 0.01);",
    source="PostgreSQL manual, Routine Vacuuming; Atlas, PG320",
    on=(SetStorageOptions, SetParameter),
    check=_check,
)
