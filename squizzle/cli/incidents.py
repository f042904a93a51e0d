"""The verb that shows incidents: what was wrong, from when to when, and what happened meanwhile."""

from __future__ import annotations

import click

from squizzle.cli.fleet_control import fleet_control
from squizzle.cli.names import fleets
from squizzle.cli.options import Invocation, common_options
from squizzle.cli.output import print_result, table
from squizzle.durations import words
from squizzle.incidents.ledger import read_incident, read_incidents
from squizzle.incidents.records import Incident, IncidentEvent

_TIME = "%Y-%m-%d %H:%M:%S"


@click.command()
@click.argument("fleet", shell_complete=fleets)
@click.option("--show", "incident_id", metavar="ID", help="One incident, with everything that happened in it.")
@common_options
def incidents(invocation: Invocation, fleet: str, *, incident_id: str | None) -> None:
    """Show the incidents of a FLEET, newest first: what was wrong with whom, from when to when. Times are UTC.

    They are kept in the fleet's first canary; name another control database by --env or --url.

    \b
    Examples:
      squizzle incidents shops
      squizzle incidents shops --show incident-20260301t120000-1f2e
    """  # noqa: D301 - click reads the backspace as "do not wrap what follows"
    with fleet_control(invocation, fleet, purpose="incidents") as connection:
        if incident_id is None:
            found = read_incidents(connection, fleet)
            document = {"incidents": [_document(one) for one in found]}
            print_result(document, _listed(found), as_json=invocation.as_json)
            return
        incident, events = read_incident(connection, fleet, incident_id)
    shown = {**_document(incident), "events": [_event(one) for one in events]}
    print_result(shown, f"{_headline(incident)}\n\n{_timeline(events)}", as_json=invocation.as_json)


def _document(one: Incident) -> dict[str, object]:
    return {
        "id": one.id,
        "target": one.target,
        "cause": one.cause,
        "opened_at": one.opened_at.isoformat(),
        "attempted_at": one.attempted_at.isoformat() if one.attempted_at else None,
        "closed_at": one.closed_at.isoformat() if one.closed_at else None,
        "closed_by": one.closed_by,
    }


def _event(one: IncidentEvent) -> dict[str, object]:
    return {"at": one.at.isoformat(), "kind": one.kind.value, "text": one.text, "by": one.by}


def _lasted(one: Incident) -> str:
    return words(one.closed_at - one.opened_at) if one.closed_at else "open"


def _listed(found: tuple[Incident, ...]) -> str:
    if not found:
        return "there was no incident"
    rows = [(one.id, one.target, f"{one.opened_at:{_TIME}}", _lasted(one), one.cause) for one in found]
    return table(("incident", "target", "opened", "lasted", "cause"), rows)


def _headline(one: Incident) -> str:
    ended = f"closed {one.closed_at:{_TIME}}, {_lasted(one)}: {one.closed_by}" if one.closed_at else "open"
    return f"{one.id}: {one.target}: {one.cause}\nopened {one.opened_at:{_TIME}} UTC, {ended}"


def _timeline(events: tuple[IncidentEvent, ...]) -> str:
    rows = [(f"{one.at:{_TIME}}", one.kind.value, one.text, one.by) for one in events]
    return table(("UTC", "what", "", "by"), rows)
