"""What travels about incidents. No row's content is in here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class EventKind(StrEnum):
    """What happened in an incident."""

    OPENED = "opened"
    ALERT_BEGINS = "alert begins"
    ALERT_OVER = "alert is over"
    ACTION = "action"
    VERDICT = "verdict"
    TOLD = "told"
    CLOSED = "closed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Incident:
    """One target that was, or is, not well. A target has one open incident at the most.

    Attributes:
        id: By what it is called.
        fleet, target: Which.
        opened_at: When it was opened, by the control database's clock, in UTC.
        cause: What opened it, in a clause.
        attempted_at: When a recovery on its own was begun; None when none was. There is one for an incident.
        closed_at: When the target was seen to be well; None while it is open.
        closed_by: What showed that; empty while it is open.
        is_told: Whether people were told that a person has to look; they hear when it is over, too.
        threads: Where that message is, by channel.
        told_as: The key of that message, where it is one for several incidents; empty where it is the incident's id.
    """

    id: str
    fleet: str
    target: str
    opened_at: datetime
    cause: str
    attempted_at: datetime | None = None
    closed_at: datetime | None = None
    closed_by: str = ""
    is_told: bool = False
    threads: Mapping[str, str] = field(default_factory=dict)
    told_as: str = ""

    @property
    def key(self) -> str:
        """Of what people are told about it."""
        return self.told_as or self.id


@dataclass(frozen=True, kw_only=True, slots=True)
class IncidentEvent:
    """One thing that happened in an incident.

    Attributes:
        at: When it was written down, by the control database's clock, in UTC.
        kind: What kind of thing.
        text: What, in a sentence.
        by: Who did or saw it.
    """

    at: datetime
    kind: EventKind
    text: str
    by: str


@dataclass(frozen=True, kw_only=True, slots=True)
class IncidentChange:
    """What one sweep means for the incident of one target.

    Attributes:
        target: Which.
        opens: What opens one; empty where none is opened.
        events: Kind and sentence of each thing that happened.
        closes: What shows that the target is well again; empty while it is not.
    """

    target: str
    opens: str = ""
    events: tuple[tuple[EventKind, str], ...] = ()
    closes: str = ""
