"""Writing a post-mortem: what happened is put together from databases and from Prefect's runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterStartTime,
    FlowRunFilterTags,
)

from squizzle.errors import InvalidInputError, SquizzleError
from squizzle.incidents.ledger import read_incident
from squizzle.incidents.postmortem import Moment, Postmortem, put_together, window
from squizzle.incidents.records import Incident
from squizzle.migrations.history import read_history
from squizzle.migrations.records import HistoryRow
from squizzle.numbers import number_of
from squizzle.postgres.access import connect
from squizzle.postgres.decisions import decisions_between
from squizzle.rollout.discovery import discover_fleet
from squizzle.rollout.records import Fleet
from squizzle.settings.fleets import FleetSettings, resolve_server
from squizzle.sweep.control import default_control
from tasks.sources import DatabaseSource, NamedDatabase
from tasks.steps import log_line, now, step

_TAG = "squizzle"
_MOST_RUNS = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class PostmortemCase:
    """Which incident, and where it is kept.

    Attributes:
        settings: The fleet.
        default_schema: The project's, of targets that say nothing else.
        incident: Its id.
        control: Where incidents are kept; None for the first canary.
        environ: Where secrets are.
    """

    settings: FleetSettings
    default_schema: str
    incident: str
    control: DatabaseSource | None = None
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)


def _known(found: Postmortem) -> str:
    gaps = f"; {number_of(len(found.missing), 'source')} did not answer" if found.missing else ""
    return f"{number_of(len(found.timeline), 'moment')}, {number_of(len(found.causes), 'candidate')}{gaps}"


@step("Put together what happened", timeout=timedelta(minutes=10), detail=_known)
def gather(case: PostmortemCase) -> Postmortem:
    """Everything that is known about an incident. Nothing is changed; what could not be looked up is named."""
    at = now()
    missing: list[str] = []
    fleet = discover_fleet(case.settings, default_schema=case.default_schema, environ=case.environ)
    control = case.control or _default(case, fleet)
    with connect(control.access(), control.database, purpose="post-mortem", read_only=True) as connection:
        incident, events = read_incident(connection, fleet.name, case.incident)
        begin, end = window(incident, at)
        decisions = decisions_between(connection, begin, end)
    rows: tuple[HistoryRow, ...] = ()
    runs: tuple[Moment, ...] = ()
    try:
        rows = _history(case, fleet, incident)
    except SquizzleError as exc:
        missing.append(f"the history of {incident.target}: {exc.message}")
    try:
        runs = _runs(begin, end)
    except httpx.HTTPError as exc:
        missing.append(f"the runs of flows: Prefect's API did not answer ({type(exc).__name__})")
    for line in missing:
        log_line(f"not in the post-mortem: {line}")
    return put_together(incident, events, rows, decisions, runs, missing=tuple(missing), now=at)


def _default(case: PostmortemCase, fleet: Fleet) -> DatabaseSource:
    access, meant = default_control(fleet, environ=case.environ)
    return NamedDatabase(meant=meant, opens=lambda: access)


def _history(case: PostmortemCase, fleet: Fleet, incident: Incident) -> tuple[HistoryRow, ...]:
    target = next((one for one in fleet.targets if one.name == incident.target), None)
    if target is None:
        raise InvalidInputError(f"{incident.target} is in the fleet no more", hint="read its history by hand")
    access, _ = resolve_server(fleet.servers[target.server], environ=case.environ)
    with connect(access, target.database, purpose="post-mortem", read_only=True) as connection:
        return read_history(connection, target.schema).rows


def _runs(begin: datetime, end: datetime) -> tuple[Moment, ...]:
    """Runs of our deployments that started in a time; the sweeps themselves would be noise."""
    wanted = FlowRunFilter(
        start_time=FlowRunFilterStartTime(after_=begin, before_=end), tags=FlowRunFilterTags(all_=[_TAG])
    )
    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(flow_run_filter=wanted, limit=_MOST_RUNS)
    return tuple(
        Moment(
            at=run.start_time.astimezone(UTC), text=f"run {run.name} began; it is {run.state_name}", source="Prefect"
        )
        for run in found
        if run.start_time is not None and "health" not in run.tags
    )
