"""What opens an incident, what is written into it, and what closes it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from squizzle.alerts.records import AlertResult, AlertRule
from squizzle.alerts.states import AlertState, advance
from squizzle.incidents.changes import GONE, WELL, changes_of
from squizzle.incidents.records import EventKind, IncidentChange
from squizzle.rollout.records import FleetTarget, UnreachableServer
from squizzle.severity import Severity
from squizzle.sweep.records import Sweep, TargetHealth

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
FAILED = AlertRule(name="failed", condition="", severity=Severity.CRITICAL)
HELD = AlertRule(name="held", condition="", severity=Severity.CRITICAL, hold=timedelta(minutes=10))
SLOW = AlertRule(name="slow", condition="", severity=Severity.MEDIUM)
SHOP = FleetTarget(name="one/shop", server="one", database="shop", schema="public")


class Looks:
    """Looks at one target, five minutes apart."""

    def __init__(self) -> None:
        self.states: tuple[AlertState, ...] = ()
        self.is_open: set[str] = set()
        self.now = NOON
        self.running = 0

    def look(self, **found: bool | None) -> IncidentChange | None:
        rules = {one.name: one for one in (FAILED, HELD, SLOW)}
        results = tuple(AlertResult(rule=rules[name], is_true=value, why="") for name, value in found.items())
        self.now += timedelta(minutes=5)
        done = advance(self.states, {SHOP.name: results}, self.now)
        metrics = {"running_migrations": self.running}
        health = TargetHealth(target=SHOP, is_reached=True, results=results, metrics=metrics)
        sweep = Sweep(fleet="f", at=self.now, duration=timedelta(), targets=(health,))
        changes = changes_of(sweep, self.states, done, self.is_open)
        self.states = done.states
        for one in changes:
            self.is_open |= {one.target} if one.opens else set()
            self.is_open -= {one.target} if one.closes else set()
        return changes[0] if changes else None


def test_a_critical_alert_opens_it_what_happens_meanwhile_is_in_it_and_a_well_target_closes_it() -> None:
    looks = Looks()
    assert looks.look(slow=True, failed=False) is None
    opened = looks.look(failed=True, slow=True)
    assert opened is not None
    assert (opened.opens, opened.events) == ("failed", ((EventKind.ALERT_BEGINS, "failed, critical"),))
    # What could not be found out is no good news.
    assert looks.look(failed=None, slow=True) is None
    assert looks.look(failed=True, slow=True) is None
    looks.running = 1  # perhaps of a recovery that was killed
    assert looks.look(failed=False, slow=True) is None
    looks.running = 0
    closed = looks.look(failed=False, slow=True)
    assert closed is not None
    assert closed.closes == WELL
    # The alert cools down still, which opens no other one.
    assert [looks.look(failed=False) for _ in range(3)] == [None, None, None]


def test_an_alert_that_has_to_hold_for_a_while_opens_nothing_before() -> None:
    looks = Looks()
    assert [bool(looks.look(held=True)) for _ in range(3)] == [False, False, True]


def test_who_left_the_fleet_is_closed_unless_a_server_could_not_be_asked() -> None:
    done = advance((), {}, NOON)
    sweep = Sweep(fleet="f", at=NOON, duration=timedelta(), targets=())
    assert changes_of(sweep, (), done, {"old"}) == (IncidentChange(target="old", closes=GONE),)
    blind = UnreachableServer(server="one", why="down")
    unsure = Sweep(fleet="f", at=NOON, duration=timedelta(), targets=(), unreachable=(blind,))
    assert changes_of(unsure, (), done, {"old"}) == ()
