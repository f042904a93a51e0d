"""How much a finding matters on the tables that are really there. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from squizzle.analysis.findings import Finding, Severity
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import RelationName

# Read or rewritten in a few milliseconds (a disk gives 500 MB/s and more): shorter than anybody notices.
_SMALL_BYTES = 10 * 1024**2
# Some seconds at the least, in which every writer waits.
_LARGE_BYTES = 1024**3
# So many writes wait in every second that the lock is held.
_BUSY_WRITES_PER_S = 50.0
# DDL that meets such a transaction waits, and everybody behind it.
_LONG_TRANSACTION = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class TableFacts:
    """What a database knows of one table.

    Attributes:
        size_bytes: With its indexes and TOAST.
        rows: As the planner believes.
        writes_per_s: Rows written, on average since the statistics were reset.
        longest_transaction: Age of the oldest transaction that holds a lock on it now; None when there is none.
    """

    size_bytes: int
    rows: int
    writes_per_s: float
    longest_transaction: timedelta | None = None

    def sentence(self) -> str:
        """The facts in words."""
        parts = [f"{_size(self.size_bytes)}", f"{self.rows:,} rows", f"{self.writes_per_s:.1f} rows written a second"]
        if self.longest_transaction is not None:
            parts.append(f"a transaction holds it for {self.longest_transaction.total_seconds():.0f} s now")
        return ", ".join(parts)


Facts = Mapping[RelationName, TableFacts]


def weigh(finding: Finding, facts: Facts) -> Finding:
    """The finding with the severity that it has on the real table; as it is where nothing is known of the table."""
    own = _facts_of(finding.relation, facts)
    weighed = finding
    if own is not None and finding.lock and LockMode(finding.lock).blocks_writes:
        message = f"{finding.message} ({own.sentence()})"
        weighed = replace(finding, severity=_severity(finding.severity, own), message=message)
    return _with_side_tables(weighed, facts)


def _with_side_tables(finding: Finding, facts: Facts) -> Finding:
    """A large or busy table that has to wait as well makes an error of what is harmless to the one that is named."""
    heavy = [
        f"{one.relation} ({table.sentence()})"
        for one in finding.also_locks
        if one.mode.blocks_writes and str(one.relation) != finding.relation
        for table in (_facts_of(str(one.relation), facts),)
        if table is not None and _severity(Severity.INFO, table) is Severity.ERROR
    ]
    if not heavy:
        return finding
    return replace(finding, severity=Severity.ERROR, message=f"{finding.message}; also holds up {', '.join(heavy)}")


def _severity(usual: Severity, table: TableFacts) -> Severity:
    is_held = table.longest_transaction is not None and table.longest_transaction > _LONG_TRANSACTION
    if table.size_bytes >= _LARGE_BYTES or table.writes_per_s >= _BUSY_WRITES_PER_S or is_held:
        return Severity.ERROR
    if table.size_bytes <= _SMALL_BYTES and usual is Severity.WARNING:
        return Severity.INFO
    return usual


def _facts_of(relation: str, facts: Facts) -> TableFacts | None:
    schema, _, name = relation.rpartition(".")
    wanted = RelationName(schema=schema, name=name)
    return next((found for known, found in facts.items() if known.may_be(wanted)), None)


def _size(size: int) -> str:
    value = float(size)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1024:  # noqa: PLR2004
            return f"{value:.0f} {unit}"
        value /= 1024
    return f"{value:.1f} TB"
