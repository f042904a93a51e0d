"""An incident, for people: what was done about it by itself, and everything that happened."""

from __future__ import annotations

from collections.abc import Sequence

from squizzle.durations import words
from squizzle.incidents.attempts import Attempt
from squizzle.incidents.records import IncidentEvent
from squizzle.reports.markdown import table


def attempt_markdown(attempt: Attempt, events: Sequence[IncidentEvent]) -> str:
    """The report of a recovery on its own, with its evidence.

    Args:
        attempt: What became of it.
        events: What happened in the incident, in order.
    """
    incident, failure = attempt.incident, attempt.failure
    parts = [
        f"# {incident.target}: {attempt.outcome.value}",
        f"{attempt.why[:1].upper()}{attempt.why[1:]}.",
        f"Incident `{incident.id}`, opened {incident.opened_at:%Y-%m-%d %H:%M:%S} UTC: {incident.cause}.",
    ]
    parts += [f"**{note}**" for note in (*attempt.notes, *(() if attempt.is_heard else ("NOBODY was told",)))]
    if failure is not None:
        left = "left something behind" if failure.is_begun else "left nothing: the server took back all of it"
        parts.append(f"`{failure.version}` failed {words(failure.age)} before, and {left}. It said: {failure.error}")
    if attempt.steps:
        rows = [
            [f"{one.started_at:%H:%M:%S}", one.title, one.state.value, one.detail, words(one.duration)]
            for one in attempt.steps
        ]
        parts += ["## What was done", table(["UTC", "step", "", "what came of it", "took"], rows)]
    rows = [[f"{one.at:%Y-%m-%d %H:%M:%S}", one.kind.value, one.text, one.by] for one in events]
    parts += ["## What happened", table(["UTC", "what", "", "by"], rows)]
    return "\n\n".join(parts) + "\n"
