"""How bad something is: of alerts, incidents and notifications."""

from __future__ import annotations

from enum import StrEnum


class Severity(StrEnum):
    """As the guide has it: `low` is read by somebody some day, `critical` wakes somebody now."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for low up to 3 for critical."""
        return list(Severity).index(self)


# What the guide's alerts and other tools say instead.
_ALSO = {"info": Severity.LOW, "warning": Severity.MEDIUM, "error": Severity.HIGH}


def severity_of(word: str) -> Severity | None:
    """What a word in a file means; None when it means nothing."""
    found = word.strip().lower()
    return _ALSO.get(found) or (Severity(found) if found in set(Severity) else None)
