"""What people are told about incidents. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from squizzle.alerts.telling import listed
from squizzle.durations import words
from squizzle.incidents.attempts import Attempt
from squizzle.incidents.records import Incident
from squizzle.notify.records import Link, Moment, Notification
from squizzle.numbers import number_of
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


def attempts_notification(attempts: Sequence[Attempt], now: datetime, *, links: Sequence[Link] = ()) -> Notification:
    """The same of several targets of one fleet: all were taken back, or of all a person has to look.

    Args:
        attempts: What became of them; at least one.
        now: When.
        links: Where to go.
    """
    first = attempts[0]
    if len(attempts) == 1:
        return attempt_notification(first, now, links=links)
    one = attempt_notification(first, now, links=links)
    names = ", ".join(sorted(each.incident.id for each in attempts))
    versions = dict.fromkeys(each.failure.version for each in attempts if each.failure)
    whys = list(dict.fromkeys(each.why for each in attempts))
    ended = "a person has to look" if first.needs_a_person else "they were taken back by themselves"
    facts = [
        ("fleet", first.incident.fleet),
        ("targets", listed([each.incident.target for each in attempts])),
        ("versions", listed(list(versions))),
        ("why", "; ".join(whys[:3])),
    ]
    facts += [("note", each) for each in dict.fromkeys(note for attempt in attempts for note in attempt.notes[:1])][:3]
    if first.needs_a_person:
        facts.append(("next", f"squizzle incidents {first.incident.fleet}"))
    return replace(
        one,
        key=f"incidents-{hashlib.sha256(names.encode()).hexdigest()[:12]}",
        title=f"{number_of(len(attempts), 'target')}: migrations failed, and {ended}",
        facts=tuple(facts),
    )


def over_notifications(
    closed: Sequence[Incident], is_open: Sequence[Incident], now: datetime
) -> Iterator[tuple[Notification, Mapping[str, str]]]:
    """What people are told about incidents that are closed now, each with its threads; of several once, with the last.

    Args:
        closed: Those that are, as they were before.
        is_open: Those that are not.
        now: When.
    """
    waiting = {one.key for one in is_open}
    together = {one.key: one for one in closed if one.is_told or one.attempted_at}
    for key, one in together.items():
        if key not in waiting:
            yield incident_is_over(one, now), one.threads


def incident_is_over(incident: Incident, now: datetime) -> Notification:
    """That an incident is over: of which people were told that a person has to look, or a recovery told nobody."""
    return Notification(
        key=incident.key,
        moment=Moment.ENDS if incident.is_told else Moment.SAID,
        severity=Severity.CRITICAL if incident.is_told else Severity.LOW,
        title=f"{incident.target} is well again" + (", the last of several" if incident.told_as else ""),
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
