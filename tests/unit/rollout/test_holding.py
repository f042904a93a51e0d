"""Alerts whose condition has to be true for a while."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from squizzle.rollout.holding import HeldAlerts
from squizzle.rollout.soak import FiringAlert, Observation

AT = datetime(2026, 6, 1, 12, tzinfo=UTC)


def test_an_alert_fires_when_its_condition_was_true_at_every_look_for_so_long() -> None:
    held = HeldAlerts()
    now_true = FiringAlert(rule="at once")
    later = FiringAlert(rule="later", hold=timedelta(minutes=5))
    unknown = FiringAlert(rule="unknown", unknown="gone", hold=timedelta(minutes=5))

    def look(minute: int, *alerts: FiringAlert) -> tuple[list[str], timedelta]:
        (seen,), pending = held.of([Observation(target="t", alerts=alerts)], AT + timedelta(minutes=minute))
        return [one.rule for one in seen.alerts], pending

    assert look(0, now_true, later, unknown) == (["at once", "unknown"], timedelta(minutes=5))
    assert look(4, later) == ([], timedelta(minutes=1))
    assert look(5, later) == (["later"], timedelta())
    # It was not true in between, so it begins anew.
    assert look(6) == ([], timedelta())
    assert look(7, later) == ([], timedelta(minutes=5))
