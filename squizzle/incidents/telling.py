"""What people are told about incidents. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from squizzle.durations import words
from squizzle.incidents.attempts import Attempt
from squizzle.incidents.records import Incident
from squizzle.notify.records import Link, Moment, Notification
from squizzle.severity import Severity


def attempt_notification(attempt: Attempt, now: datetime, *, links: Sequence[Link] = ()) -> Notification:
    """What a recovery on its own came to: in passing where it helped, as loudly as there is where it did not.

    Args:
        attempt: What became of it.
        now: When.
        links: Where to go.
    """
    incident, failure = attempt.incident, attempt.failure
    version = failure.version if failure else "a migration"
    is_bad = attempt.needs_a_person
    ended = "and was taken back by itself" if not is_bad else f"and a person has to look: {attempt.outcome.value}"
    facts = [("fleet", incident.fleet), ("target", incident.target), ("incident", incident.id), ("why", attempt.why)]
    facts += [("note", one) for one in attempt.notes]
    if is_bad:
        facts.append(("next", f"squizzle incidents {incident.fleet} --show {incident.id}"))
    return Notification(
        key=incident.id,
        moment=Moment.BEGINS if is_bad else Moment.SAID,
        severity=Severity.CRITICAL if is_bad else Severity.LOW,
        title=f"{incident.target}: {version} failed, {ended}",
        at=now,
        source=f"fleet {incident.fleet}",
        facts=tuple(facts),
        links=tuple(links),
    )


def incident_is_over(incident: Incident, now: datetime) -> Notification:
    """That an incident is over: of which people were told that a person has to look, or a recovery told nobody."""
    return Notification(
        key=incident.id,
        moment=Moment.ENDS if incident.is_told else Moment.SAID,
        severity=Severity.CRITICAL if incident.is_told else Severity.LOW,
        title=f"{incident.target} is well again",
        at=now,
        source=f"fleet {incident.fleet}",
        facts=(
            ("fleet", incident.fleet),
            ("target", incident.target),
            ("incident", incident.id),
            ("cause", incident.cause),
            ("lasted", words(now - incident.opened_at)),
        ),
    )
