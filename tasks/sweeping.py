"""A health sweep: look at every target, keep what is not well, and tell people what is new."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from squizzle.alerts.ledger import note_told, prepare, read_silences, read_states, write_states
from squizzle.alerts.records import AlertResult
from squizzle.alerts.states import Advance, AlertState, advance, due
from squizzle.alerts.telling import notification_of
from squizzle.errors import ConnectionFailedError, SquizzleError
from squizzle.incidents.changes import changes_of
from squizzle.incidents.ledger import make_tables, read_open, write_changes
from squizzle.incidents.records import IncidentChange
from squizzle.incidents.telling import over_notifications
from squizzle.migrations.records import Migration
from squizzle.notify.records import Deliveries, Link, Moment, Notification
from squizzle.postgres.access import Connection, connect
from squizzle.reports.health import health_summary
from squizzle.rollout.discovery import discover_fleet
from squizzle.rollout.reaching import Reach, servers_of
from squizzle.rollout.records import Fleet
from squizzle.severity import Severity
from squizzle.sweep.ledger import note_of, write_note
from squizzle.sweep.own_rules import FAILED_RULE
from squizzle.sweep.records import Sweep
from squizzle.sweep.sweeping import SweepOrder, expected_of, sweep_fleet
from tasks.folders import read_folders
from tasks.notify import notify
from tasks.rollout_disk import ask_rds
from tasks.steps import log_line, now, run_name, step
from tasks.sweep_case import SweepCase


@dataclass(frozen=True, kw_only=True, slots=True)
class Looked:
    """One sweep, and the fleet that it looked at.

    Attributes:
        sweep: What was found.
        fleet: The targets.
    """

    sweep: Sweep
    fleet: Fleet


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What became of alerts.

    Attributes:
        advance: The alerts after this look; None where they could not be kept.
        deliveries: What people were told.
        problem: Why they could not be kept; empty when they were.
    """

    advance: Advance | None
    deliveries: tuple[Deliveries, ...] = ()
    problem: str = ""


@step("Look at every target", timeout=timedelta(minutes=30), detail=lambda looked: health_summary(looked.sweep))
def look(case: SweepCase) -> Looked:
    """Who is in the fleet, and how each is. Nothing is changed."""
    found = discover_fleet(case.settings, default_schema=case.default_schema, environ=case.environ)
    order = SweepOrder(
        fleet=found,
        expected=expected_of(found),
        settings=case.settings,
        rules=case.rules,
        migrations=_on_disk(case),
        drift=case.drift,
        store=case.store,
        ask_cloud=ask_rds,
    )
    accesses = servers_of(found, found.targets, environ=case.environ)
    sweep = sweep_fleet(order, Reach(accesses, deadline=case.settings.deadline, purpose="health"))
    return Looked(sweep=sweep, fleet=found)


def _on_disk(case: SweepCase) -> tuple[Migration, ...]:
    """What targets may lack. A folder that cannot be read is no reason not to look how they are."""
    if case.folder is None:
        return ()
    try:
        return read_folders(case.folder)
    except SquizzleError as exc:
        log_line(f"pending migrations are not counted: {exc.message}", logging.WARNING)
        return ()


def tell_people(case: SweepCase, looked: Looked, *, links: Sequence[Link] = (), held: Collection[str] = ()) -> Told:
    """Keep what is not well, and tell people what is new, or over.

    Where alerts cannot be kept, nobody knows what was told before: everything that fires is told again, in one message.

    Args:
        case: How people are told.
        looked: What was found.
        links: Where to go.
        held: Targets with a failed migration that is about to be taken back: of that people are told behind it.
    """
    try:
        with _kept(case, looked) as (connection, at):
            before, done = _advance(connection, looked, at, held)
            deliveries = _deliver(connection, case, looked, done, at, links) if case.tell else ()
            over = _note_incidents(connection, looked, before, done)
            if case.tell:
                deliveries += _tell_over(connection, case, looked.fleet.name, over)
            # Behind the telling: of a run that dies in between people hear again from the next, and not from nobody.
            write_changes(connection, looked.fleet.name, over, by=run_name())
            # For those who watch from outside whether sweeps go on: one that nobody hears of counts for none.
            if all(one.is_heard for one in deliveries):
                write_note(connection, looked.fleet.name, note_of(looked.sweep, at))
            return Told(advance=done, deliveries=deliveries)
    except SquizzleError as exc:
        log_line(f"alerts cannot be kept: {exc.message}", logging.ERROR)
        if not isinstance(exc, ConnectionFailedError):
            raise
        told = (_tell(case, _blind(case, looked, exc, links)),) if case.tell else ()
        return Told(advance=None, deliveries=told, problem=f"alerts cannot be kept: {exc.message}")


@contextmanager
def _kept(case: SweepCase, looked: Looked) -> Iterator[tuple[Connection, datetime]]:
    control = case.control_of(looked.fleet)
    with connect(control.access(), control.database, purpose="alerts") as connection:
        yield connection, prepare(connection, looked.fleet.name)


def _news(both: tuple[tuple[AlertState, ...], Advance]) -> str:
    _, done = both
    counts = {moment: sum(one.moment is moment for one in done.messages) for moment in (Moment.BEGINS, Moment.ENDS)}
    quiet = f", {len(done.silenced)} silenced" if done.silenced else ""
    return f"{counts[Moment.BEGINS]} begin, {counts[Moment.ENDS]} are over, {len(done.states)} known{quiet}"


@step("Compare with what was known", timeout=timedelta(minutes=5), detail=_news)
def _advance(
    connection: Connection, looked: Looked, at: datetime, held: Collection[str]
) -> tuple[tuple[AlertState, ...], Advance]:
    """The alerts before, and what begins, what goes on, what is over; kept before anybody is told."""
    fleet = looked.fleet.name
    before = read_states(connection, fleet)
    looks: dict[str, tuple[AlertResult, ...]] = {one.target.name: one.results for one in looked.sweep.targets}
    withheld = _told_otherwise(connection, fleet, held)
    done = advance(before, looks, at, silences=read_silences(connection, fleet), withheld=withheld)
    write_states(connection, fleet, before, done.states)
    return before, done


def _told_otherwise(connection: Connection, fleet: str, held: Collection[str]) -> set[tuple[str, str]]:
    """Failed migrations of which a recovery on its own tells people, or has told that a person has to look."""
    told = [one.target for one in read_open(connection, fleet) if one.is_told]
    return {(target, FAILED_RULE.name) for target in (*told, *held)}


def tell_held(
    case: SweepCase, looked: Looked, held: Collection[str], *, links: Sequence[Link] = ()
) -> tuple[Deliveries, ...]:
    """Tell of failed migrations that were held back, and of which the recovery on its own told nobody.

    Args:
        case: How people are told.
        looked: What was found.
        held: The targets.
        links: Where to go.
    """
    if not held:
        return ()
    names = {(target, FAILED_RULE.name) for target in held}
    with _kept(case, looked) as (connection, at):
        fleet = looked.fleet.name
        mine = [one for one in read_states(connection, fleet) if one.name in names and not one.is_told]
        told = _told_otherwise(connection, fleet, ())
        done = due(mine, at, silences=read_silences(connection, fleet), withheld=told)
        write_states(connection, fleet, mine, done.states)
        return _deliver(connection, case, looked, done, at, links)


def _note_incidents(
    connection: Connection, looked: Looked, before: Sequence[AlertState], done: Advance
) -> tuple[IncidentChange, ...]:
    """What of it opens incidents, or belongs to them; returns what closes some, which is not written down yet."""
    fleet = looked.fleet.name
    make_tables(connection)
    is_open = {one.target for one in read_open(connection, fleet)}
    changes = changes_of(looked.sweep, before, done, is_open)
    write_changes(connection, fleet, [one for one in changes if not one.closes], by=run_name())
    return tuple(one for one in changes if one.closes)


def _tell_over(
    connection: Connection, case: SweepCase, fleet: str, over: Sequence[IncidentChange]
) -> tuple[Deliveries, ...]:
    """Tell people of incidents that are about to be closed."""
    well = {one.target for one in over}
    is_open = read_open(connection, fleet)
    closing, others = ([one for one in is_open if (one.target in well) is wanted] for wanted in (True, False))
    return tuple(_tell(case, one, threads=threads) for one, threads in over_notifications(closing, others, now()))


def _deliver(
    connection: Connection, case: SweepCase, looked: Looked, done: Advance, at: datetime, links: Sequence[Link]
) -> tuple[Deliveries, ...]:
    """Tell people. Whoever was told of a beginning is noted at once, so that a run that dies tells nobody twice."""
    fleet = looked.fleet.name
    told = []
    for message in done.messages:
        notification = notification_of(message, fleet=fleet, now=at, links=_links(case, links))
        delivered = _tell(case, notification, only=message.notify, threads=message.threads)
        if delivered.is_heard and message.moment is Moment.BEGINS:
            note_told(connection, fleet, message.key, delivered.threads)
        told.append(delivered)
    return tuple(told)


def _tell(
    case: SweepCase, notification: Notification, *, only: Sequence[str] = (), threads: Mapping[str, str] | None = None
) -> Deliveries:
    return notify(notification, case.notify, case.environ, only=only, threads=threads, given_up=case.given_up)


def _links(case: SweepCase, links: Sequence[Link]) -> tuple[Link, ...]:
    runbook = (Link(name="runbook", url=case.notify.runbook),) if case.notify.runbook else ()
    return (*links, *runbook)


def _blind(case: SweepCase, looked: Looked, exc: SquizzleError, links: Sequence[Link]) -> Notification:
    firing = [one for one in looked.sweep.targets if one.firing]
    shown = ", ".join(f"{one.target.name}: {one.firing[0].rule.name}" for one in firing[:10])
    return Notification(
        key=f"alerts-{looked.fleet.name}-control",
        moment=Moment.BEGINS,
        severity=Severity.CRITICAL,
        title=f"{looked.fleet.name}: alerts cannot be kept, {len(firing)} targets are not well",
        at=now(),
        source=f"fleet {looked.fleet.name}",
        facts=(("why", exc.message), ("not well", shown or "nobody")),
        links=_links(case, links),
    )
