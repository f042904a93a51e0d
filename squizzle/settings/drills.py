"""What a project says about drills, in `squizzle.toml` (`[drills]`).

Imported by every verb, so it imports little itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from squizzle.settings.reader import Reader


@dataclass(frozen=True, kw_only=True, slots=True)
class DrillBudget:
    """`[drills]`: what a recovery may cost; a drill that costs more has failed.

    Attributes:
        rto: From noticing to letting clients in again; None for any time.
        rpo: For so long what was written may be lost; None for any.
    """

    rto: timedelta | None = None
    rpo: timedelta | None = None


def read_drills(reader: Reader, value: object) -> DrillBudget:
    """The section.

    Raises:
        InvalidInputError: A setting is unknown or wrong.
    """
    section = reader.section(value, "drills")
    found: dict[str, timedelta | None] = {}
    for name in ("rto", "rpo"):
        given = reader.duration(section, "drills", name, timedelta())
        found[name] = given if name in (value if isinstance(value, dict) else {}) else None
        if found[name] == timedelta():
            reader.complain(f"drills.{name}", "must be above zero")
    reader.nothing_left(section, "drills")
    return DrillBudget(**found)
