"""A setting that risks the data."""

from __future__ import annotations

from collections.abc import Iterator

from squizzle.analysis.actions import SetParameter
from squizzle.analysis.findings import Severity
from squizzle.analysis.rules.rule import Context, Hit, Rule

_OFF = frozenset({"off", "false", "no", "0"})
_RISKY = {
    "fsync": "a crash can destroy the whole cluster",
    "full_page_writes": "a crash can destroy pages",
    "zero_damaged_pages": "damaged pages are emptied for good",
    "ignore_checksum_failure": "damaged pages are read as if they were right",
    "synchronous_commit": "a crash loses transactions that clients were told are committed",
    "row_security": "queries fail where policies would apply",
}
_RISKY_WHEN_ON = frozenset({"zero_damaged_pages", "ignore_checksum_failure", "allow_system_table_mods"})


def _check(action: SetParameter, _context: Context) -> Iterator[Hit]:
    if action.name == "synchronous_commit" and action.scope == "LOCAL":
        return  # a backfill that can be repeated may do so
    is_off = action.value.lower() in _OFF
    is_risky = not is_off and bool(action.value) if action.name in _RISKY_WHEN_ON else is_off and action.name in _RISKY
    if is_risky:
        yield Hit(message=f"sets {action.name}: {_RISKY.get(action.name, 'the catalogue can be destroyed')}")


RULE = Rule(
    code="S104",
    name="durability-switched-off",
    severity=Severity.ERROR,
    condition="fsync, full_page_writes or synchronous_commit off; zero_damaged_pages, ignore_checksum_failure or"
    " allow_system_table_mods on.",
    effect="What is committed can be lost or destroyed, and nobody notices before the next crash or restore.",
    safe_way="Leave them as they are; SET LOCAL synchronous_commit = off is fine for a backfill that can be repeated.",
    bad="SET synchronous_commit = off;",
    good="SET LOCAL synchronous_commit = off;",
    source="PostgreSQL manual, Write Ahead Log; Developer Options",
    on=(SetParameter,),
    check=_check,
)
