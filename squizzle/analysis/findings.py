"""What analysis found: one record for each thing that a reader should know."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from squizzle.analysis.locks.side import SideLock


class Severity(StrEnum):
    """How much a finding matters; an error makes `squizzle lint` end with exit code 1."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiver:
    """Who said that a finding is known and allowed: `-- squizzle: allow CODE until=DATE reason="…"`.

    Attributes:
        reason: Why.
        until: The last day on which it holds, as an ISO date; empty for no end.
        line: Where it stands.
    """

    reason: str
    until: str
    line: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that was found in a script.

    Attributes:
        file: The script's name.
        line: Counted from 1.
        column: Counted from 1, in characters.
        rule: The rule's code.
        name: The rule's name.
        severity: How much it matters here.
        message: What the statement does, with the names of the script.
        effect: What that does to clients or data.
        lock: The lock mode it is about; empty for none.
        relation: The relation it is about; empty for none.
        hint: What to do instead, as SQL where SQL says it.
        waiver: Who allows it; None when nobody does. A waived finding does not count.
        also_locks: What the statement locks besides what it names, where a database was asked.
    """

    file: str
    line: int
    column: int
    rule: str
    name: str
    severity: Severity
    message: str
    effect: str = ""
    lock: str = ""
    relation: str = ""
    hint: str = ""
    waiver: Waiver | None = None
    also_locks: tuple[SideLock, ...] = ()
