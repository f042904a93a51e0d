"""The steps of a recovery on its own: who is in the way, what failed, and what shows that it is back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from squizzle.alerts.ledger import read_silences
from squizzle.incidents.attempts import Attempt
from squizzle.incidents.failure import Failure, hands_off, look_for_failure
from squizzle.incidents.ledger import (
    claim_attempt,
    close_incident,
    make_tables,
    note_event,
    note_told,
    open_incident,
    read_incident,
    read_open,
)
from squizzle.incidents.records import EventKind, Incident, IncidentEvent
from squizzle.incidents.telling import attempts_notification
from squizzle.migrations.settling import note_undone, settle_failed
from squizzle.notify.records import Link
from squizzle.postgres.access import Connection, connect
from squizzle.proof.digests import digest_schema
from squizzle.rehearsal.certificate_store import read_certificates
from squizzle.rollout.ledger import find_rollout, fleet_lock
from squizzle.rollout.records import Fleet, FleetTarget
from squizzle.rollout.unwinding import unproven_scripts, why_not_by_script
from squizzle.rollout.windows import next_allowed
from tasks.auto_recovery_case import AutoRecoveryCase
from tasks.folders import read_folders
from tasks.notify import notify
from tasks.recovery import one_recovery
from tasks.sources import DatabaseSource
from tasks.steps import now, run_name, step


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What was found at one target.

    Attributes:
        failure: What failed; None where nothing has any more.
        why_not_now: Who or what is in the way at the moment; empty for nothing.
    """

    failure: Failure | None
    why_not_now: str = ""


@contextmanager
def _ledger(case: AutoRecoveryCase, fleet: Fleet) -> Iterator[Connection]:
    control = case.control(fleet)
    with connect(control.access(), control.database, purpose="incidents") as connection:
        yield connection


@contextmanager
def nobody_else(case: AutoRecoveryCase, fleet: Fleet, database: DatabaseSource) -> Iterator[None]:
    """No rollout of the fleet and no recovery of the database begins meanwhile. No task: it holds between tasks.

    Raises:
        LockTimeoutError: One is at work.
    """
    access, name = case.rollouts(fleet)
    with fleet_lock(lambda: connect(access, name, purpose="auto recovery"), fleet.name), one_recovery(database):
        yield


@step("Open the incident", timeout=timedelta(minutes=5), detail=lambda incident: incident.id)
def open_one(case: AutoRecoveryCase, fleet: Fleet, target: FleetTarget, cause: str) -> Incident:
    """The open incident of a target, which a sweep may have opened before."""
    with _ledger(case, fleet) as connection:
        make_tables(connection)
        return open_incident(connection, fleet.name, target.name, cause=cause, by=run_name())


@step("Look for recoveries that were killed", timeout=timedelta(minutes=5), detail=lambda found: f"{len(found)} untold")
def untold(case: AutoRecoveryCase, fleet: Fleet) -> frozenset[str]:
    """The targets of tries that began, and of which nobody was told how they ended."""
    with _ledger(case, fleet) as connection:
        return frozenset(
            one.target for one in read_open(connection, fleet.name) if one.attempted_at is not None and not one.is_told
        )


def _found(found: Finding) -> str:
    if found.failure is None:
        return "nothing has failed any more"
    return found.why_not_now or found.failure.why_never or f"{found.failure.version} failed, and nobody is at work"


@step("See what failed, and who is at work", timeout=timedelta(minutes=10), detail=_found)
def examine(case: AutoRecoveryCase, fleet: Fleet, target: FleetTarget) -> Finding:
    """What failed, and what is in the way: hands off, a freeze, a rollout that has not ended, people."""
    database = case.database(fleet, target)
    with connect(database.access(), database.database, purpose="auto recovery", read_only=True) as connection:
        failure = look_for_failure(connection, database.target(), window=case.window)
    if failure is None:
        return Finding(failure=None)
    at = now()
    with _ledger(case, fleet) as connection:
        why = hands_off(read_silences(connection, fleet.name), target.name, at)
    why = why or next_allowed(at, windows=(), freezes=case.settings.freezes).why
    return Finding(failure=failure, why_not_now=why or _rolled_out(case, fleet, target) or failure.why_not_now)


def _rolled_out(case: AutoRecoveryCase, fleet: Fleet, target: FleetTarget) -> str:
    access, name = case.rollouts(fleet)
    with connect(access, name, purpose="auto recovery", read_only=True) as connection:
        row = find_rollout(connection, fleet.name)
    if row is None or target.name not in row.stage_of:
        return ""
    return f"the rollout {row.id} has not ended, and takes back itself what it brought (`squizzle reconcile`)"


@step("Begin", timeout=timedelta(minutes=5), detail=lambda may: "the first try" if may else "there was one before")
def claim(case: AutoRecoveryCase, fleet: Fleet, incident: Incident) -> bool:
    """Use up the one try of an incident; kept before anything is done."""
    with _ledger(case, fleet) as connection:
        return claim_attempt(connection, incident, by=run_name())


@step("Write down that it is not there any more", timeout=timedelta(minutes=30), detail=str)
def settle(database: DatabaseSource, version: str) -> str:
    """The schema is compared, then the history says that the version is not there; returns what was compared."""
    with connect(database.access(), database.database, purpose="auto recovery") as connection:
        return settle_failed(connection, database.target(), version)


@step("Write down that it was taken back", timeout=timedelta(minutes=30), detail=str)
def write_down_undone(case: AutoRecoveryCase, database: DatabaseSource, version: str) -> str:
    """The history says that the version is not there, after the change log took back what it did to rows."""
    with connect(database.access(), database.database, purpose="auto recovery") as connection:
        return note_undone(connection, database.target(), read_folders(case.folder), (version,))


@step("See whether the way back is proven", timeout=timedelta(minutes=10), detail=lambda why: why or "nothing against")
def why_unproven(case: AutoRecoveryCase, failure: Failure) -> str:
    """Why the certificate by which the version came speaks against its down script; empty where it does not."""
    if case.store is None or not failure.certificate:
        return ""
    found = read_certificates(case.store.open(), version=failure.version).found
    mine = {one.version: one for one in found if one.id == failure.certificate}
    return why_not_by_script((failure.version,), unproven_scripts(mine))


def has_down_script(case: AutoRecoveryCase, version: str) -> bool:
    """Whether the migrations folder has one."""
    return any(one.version == version and one.down_sql is not None for one in read_folders(case.folder))


@step("Compare the schema with the one before", timeout=timedelta(minutes=30), detail=lambda why: why or "the same")
def compare_schema(database: DatabaseSource, digest: str) -> str:
    """Why the schema is not the one that the last good run left; empty when it is."""
    with connect(database.access(), database.database, purpose="auto recovery", read_only=True) as connection:
        found = digest_schema(connection, schema=database.target().schema).logical
    return "" if found == digest else f"the schema was {digest[:12]} before and is {found[:12]} now"


@step("Write into the incident", timeout=timedelta(minutes=5))
def write_down(case: AutoRecoveryCase, fleet: Fleet, attempt: Attempt) -> None:
    """What became of it. What was said last is not said again."""
    incident, text = attempt.incident, f"{attempt.outcome.value}: {attempt.why}"
    with _ledger(case, fleet) as connection:
        _, events = read_incident(connection, fleet.name, incident.id)
        verdicts = [one.text for one in events if one.kind is EventKind.VERDICT]
        if verdicts[-1:] != [text]:
            note_event(connection, incident, EventKind.VERDICT, text, by=run_name())


@step("Close the incident where all is well", timeout=timedelta(minutes=5))
def close_where_well(case: AutoRecoveryCase, fleet: Fleet, attempt: Attempt) -> tuple[IncidentEvent, ...]:
    """Close it behind the telling, for of one that is open the next sweep tells. Returns all events."""
    incident = attempt.incident
    with _ledger(case, fleet) as connection:
        if attempt.is_heard and not attempt.needs_a_person:
            close_incident(connection, incident, shown_by=attempt.why, by=run_name())
        return read_incident(connection, fleet.name, incident.id)[1]


def tell_of_attempts(case: AutoRecoveryCase, fleet: Fleet, attempts: Sequence[Attempt], at: datetime, url: str) -> bool:
    """Tell people of one, or of several that ended alike; returns whether somebody was told."""
    named = (("run", url), ("runbook", case.sweep.notify.runbook))
    links = [Link(name=name, url=one) for name, one in named if one]
    notification = attempts_notification(attempts, at, links=links)
    told = notify(
        notification,
        case.sweep.notify,
        case.sweep.environ,
        given_up=case.sweep.given_up,
    )
    if told.is_heard:
        with _ledger(case, fleet) as connection:
            channels = ", ".join(one.channel for one in told.tried if one.is_delivered)
            for attempt in attempts:
                note_event(connection, attempt.incident, EventKind.TOLD, f"by {channels}", by=run_name())
                if attempt.needs_a_person:
                    key = "" if notification.key == attempt.incident.id else notification.key
                    note_told(connection, attempt.incident, told.threads, key=key)
    return told.is_heard
