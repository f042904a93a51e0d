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
        """0 for the least; for sorting, since the words do not sort by what they mean."""
        return tuple(Severity).index(self)

    @property
    def is_harm(self) -> bool:
        """Whether it means harm by itself; anything less is for a person to judge."""
        return self in {Severity.HIGH, Severity.CRITICAL}


# What the guide's alerts and other tools say instead.
_ALSO = {"info": Severity.LOW, "warning": Severity.MEDIUM, "error": Severity.HIGH}
SEVERITIES = f"{', '.join(Severity)} (or {', '.join(f'{word} for {one}' for word, one in _ALSO.items())})"
"""What may be said, for messages."""


def severity_of(word: str) -> Severity:
    """What a word in a file means; ValueError for any other."""
    found = word.strip().lower()
    return _ALSO.get(found) or Severity(found)
