"""Alert rules that fire only when their condition has been true for a while (`for`), over many looks. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from squizzle.rollout.soak import FiringAlert, Observation


class HeldAlerts:
    """Since when each condition is true, as far as one process has seen it: a restart begins anew."""

    def __init__(self) -> None:
        self._since: dict[tuple[str, str], datetime] = {}

    def of(self, seen: Sequence[Observation], now: datetime) -> tuple[tuple[Observation, ...], timedelta]:
        """The observations without alerts that are not true for long enough yet, and how long the last of them needs.

        Args:
            seen: Of every target, each time the same ones.
            now: When they were looked at.
        """
        true = {(one.target, alert.rule) for one in seen for alert in one.alerts if not alert.unknown}
        self._since = {key: self._since.get(key, now) for key in true}
        pending = timedelta()
        found = []
        for one in seen:
            left = [self._left(one, alert, now) for alert in one.alerts]
            pending = max(pending, *left, timedelta())
            alerts = tuple(alert for alert, wait in zip(one.alerts, left, strict=True) if not wait)
            found.append(replace(one, alerts=alerts) if alerts != one.alerts else one)
        return tuple(found), pending

    def _left(self, one: Observation, alert: FiringAlert, now: datetime) -> timedelta:
        since = self._since.get((one.target, alert.rule))
        if since is None or alert.since_before:
            return timedelta()
        return max(timedelta(), since + alert.hold - now)
