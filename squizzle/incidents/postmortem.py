"""What a post-mortem is written from: all that is known about one incident, in the order in which it happened."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from squizzle.incidents.records import Incident, IncidentEvent
from squizzle.migrations.records import Direction, HistoryRow
from squizzle.postgres.decisions import DecisionRow

# What led to an incident began before somebody noticed it.
BEFORE = timedelta(hours=1)
_ERROR = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """One line of a timeline.

    Attributes:
        at: When, in UTC.
        text: What, in a clause.
        source: Who says so: `sweep`, `history`, `decision`, `Prefect`.
    """

    at: datetime
    text: str
    source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Postmortem:
    """What is known about one incident.

    Attributes:
        incident: Which.
        timeline: In order.
        causes: What may have caused it, the likeliest first, each with its evidence.
        missing: What could not be looked up, and why.
        now: When this was put together.
    """

    incident: Incident
    timeline: tuple[Moment, ...]
    causes: tuple[str, ...]
    missing: tuple[str, ...]
    now: datetime

    @property
    def until(self) -> datetime:
        """When it was over; now where it is not."""
        return self.incident.closed_at or self.now


def window(incident: Incident, now: datetime) -> tuple[datetime, datetime]:
    """The time that an incident is about: from a while before it was noticed until it was over."""
    return incident.opened_at - BEFORE, incident.closed_at or now


def put_together(
    incident: Incident,
    events: Iterable[IncidentEvent],
    rows: Iterable[HistoryRow],
    decisions: Iterable[DecisionRow],
    others: Iterable[Moment],
    *,
    missing: tuple[str, ...],
    now: datetime,
) -> Postmortem:
    """The timeline and what may have caused it. Pure.

    Args:
        incident: Which.
        events: What was written down about it.
        rows: The target's history.
        decisions: What people decided meanwhile.
        others: What else happened, such as runs of flows.
        missing: What could not be looked up.
        now: When this is put together.
    """
    begin, end = window(incident, now)
    within = [row for row in rows if begin <= row.applied_at.astimezone(UTC) <= end]
    noted = [Moment(at=one.at, text=_sentence(one), source=one.by) for one in events]
    timeline = [*noted, *map(_of_row, within), *map(_of_decision, decisions), *others]
    return Postmortem(
        incident=incident,
        timeline=tuple(sorted(timeline, key=lambda one: one.at)),
        causes=tuple(_causes(incident, within)),
        missing=missing,
        now=now,
    )


def _sentence(event: IncidentEvent) -> str:
    return f"{event.kind.value}: {event.text}" if event.text else event.kind.value


def _of_row(row: HistoryRow) -> Moment:
    ended = {True: "ended well", False: "FAILED", None: "has not ended, or its run died"}[row.success]
    why = f": {first_line(row.error)}" if row.error and row.success is False else ""
    what = "migration" if row.direction is Direction.APPLY else "rollback of"
    return Moment(
        at=row.applied_at.astimezone(UTC),
        text=f"{what} {row.version} ({row.name}) by {row.applied_by} began; it {ended}{why}",
        source="history",
    )


def _of_decision(row: DecisionRow) -> Moment:
    what = "approved" if row.is_approved else "rejected"
    why = f": {row.comment}" if row.comment else ""
    return Moment(at=row.decided_at.astimezone(UTC), text=f"{row.decided_by} {what} {row.gate}{why}", source="decision")


def first_line(error: str) -> str:
    """The server's message without its details, which quote rows."""
    line = error.strip().splitlines()[0] if error.strip() else ""
    return line if len(line) <= _ERROR else f"{line[:_ERROR]}…"


def _causes(incident: Incident, rows: list[HistoryRow]) -> Iterable[str]:
    for row in reversed(rows):
        if row.success is False and row.direction is Direction.APPLY:
            yield f"migration {row.version} failed: {first_line(row.error or 'no message was kept')}"
    for row in reversed(rows):
        if row.success is False and row.direction is not Direction.APPLY:
            yield f"the rollback of {row.version} failed: {first_line(row.error or 'no message was kept')}"
    before = [row for row in rows if row.success and row.applied_at <= incident.opened_at]
    if before:
        last = before[-1]
        ago = round((incident.opened_at - last.applied_at).total_seconds() / 60)
        done = "applied" if last.direction is Direction.APPLY else "rolled back"
        yield f"{last.version} ({last.name}) was {done} {ago} min before it was noticed"
    yield f"what was noticed first: {incident.cause}"
