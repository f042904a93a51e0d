"""An index's option stops everybody who plans a query."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import SetStorageOptions
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import Context, Hit, Rule

_WEAK = frozenset({"fillfactor", "deduplicate_items"})


def _check(action: SetStorageOptions, context: Context) -> Iterator[Hit]:
    names = {name for name, _value in action.options}
    if action.is_index and not names <= _WEAK and not context.is_new(action.table):
        yield Hit(
            message=f"locks the index {action.table} so that no query of its table can be planned",
            relation=action.table,
        )


RULE = Rule(
    code="L125",
    name="index-option-locks-readers",
    severity=Severity.INFO,
    condition="ALTER INDEX … SET of fastupdate, gin_pending_list_limit, pages_per_range and the like.",
    effect="ACCESS EXCLUSIVE on the index, and planning a query takes a lock on every index of its table: readers"
    " wait until"
    " the transaction ends.",
    safe_way="Make it the only statement of its migration, so that the lock is held for a moment.",
    bad="ALTER INDEX orders_note_words SET (fastupdate = off);",
    good="ALTER INDEX orders_status_idx SET (fillfactor = 70);",
    source="PostgreSQL, reloptions.c; measured on 15 and 18",
    on=(SetStorageOptions,),
    check=_check,
)
