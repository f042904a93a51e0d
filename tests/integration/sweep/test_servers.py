"""Sweeps over servers that are full, that restart at this very moment, or that answer once only."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from squizzle.alerts.records import AlertRule
from squizzle.errors import ConnectionFailedError
from squizzle.postgres.access import Connection, ServerAccess, connect, is_restarting
from squizzle.postgres.embedded import drill_settings, find_runtime, throwaway_cluster
from squizzle.postgres.identity import ExpectedIdentity
from squizzle.rollout.reaching import Reach
from squizzle.rollout.records import Fleet, FleetTarget
from squizzle.settings.fleets import FleetSettings
from squizzle.settings.health import HealthLimits
from squizzle.severity import Severity
from squizzle.sweep.records import Sweep
from squizzle.sweep.sweeping import SweepOrder, sweep_fleet
from tests.integration.conftest import access_to
from tests.support.processes import wait_until

BUSY = "SELECT pid FROM pg_stat_activity WHERE application_name = 'squizzle health' AND wait_event = 'PgSleep'"
DEADLINE = timedelta(seconds=60)
ONE = FleetTarget(name="one/postgres", server="one", database="postgres", schema="public")


@pytest.fixture(scope="module")
def access() -> Iterator[ServerAccess]:
    """A server of their own with twelve connections, two of them for superusers and two for whoever may have those."""
    runtime = find_runtime()
    few = {"max_connections": "12", "superuser_reserved_connections": "2", "reserved_connections": "2"}
    settings = drill_settings(runtime.major, throwaway=True) | few
    with throwaway_cluster("full", settings=settings, runtime=runtime) as address:
        yield access_to(address)


def look(reach: Reach, *targets: FleetTarget, limits: HealthLimits | None = None, rule: str = "") -> Sweep:
    settings = FleetSettings(
        name="town", deadline=DEADLINE, concurrency=1, per_server=1, health=limits or HealthLimits()
    )
    rules = (AlertRule(name="own", condition=rule, severity=Severity.LOW),) if rule else ()
    fleet = Fleet(name="town", environment=None, servers={}, targets=targets or (ONE,))
    order = SweepOrder(fleet=fleet, expected=ExpectedIdentity(), settings=settings, rules=rules)
    return sweep_fleet(order, reach)


def reach_of(access: ServerAccess) -> Reach:
    return Reach({"one": (access, "postgres")}, deadline=DEADLINE, purpose="health")


def pid_of(session: Connection) -> int:
    return int(session.execute("SELECT pg_backend_pid()").fetchone()[0])  # type: ignore[index]


def firing(sweep: Sweep) -> list[tuple[str, str]]:
    return [
        (one.rule.name, one.why) for one in sweep.targets[0].firing if "connect" in one.rule.name or not one.rule.place
    ]


def test_of_a_server_that_is_full_the_connections_that_others_may_have_are_counted(access: ServerAccess) -> None:
    with ExitStack() as stack:
        root = stack.enter_context(connect(access, "postgres", purpose="test"))
        root.execute("CREATE ROLE plain LOGIN PASSWORD 'plain'")
        plain = replace(access, user="plain")

        def one_more() -> bool:
            """Whoever leaves is not seen any more a moment before the place is free."""
            try:
                stack.enter_context(connect(plain, "postgres", purpose="test"))
            except ConnectionFailedError:
                return False
            return True

        for _ in range(6):
            wait_until(one_more, "there is a place")

        def seen_by(account: ServerAccess, limits: HealthLimits | None = None) -> Sweep:
            swept = look(reach_of(account), limits=limits)
            gone = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'squizzle health'"
            wait_until(lambda: root.execute(gone).fetchone() == (0,), "its session is gone")
            return swept

        # Eight of twelve are anybody's: with root, and the sweep itself.
        assert firing(seen_by(access))[0] == ("connections used up", "8 of 8")
        own_limits = HealthLimits(connections_pct=90, connections_critical_pct=101)
        assert firing(seen_by(access, own_limits))[0] == ("connections nearly used up", "8 of 8")
        wait_until(one_more, "there is a place")
        shut_out = seen_by(plain).targets[0]
        assert not shut_out.is_reached
        assert "remaining connection slots are reserved" in shut_out.detail
        assert firing(seen_by(access))[0] == ("connections used up", "9 of 8")


def test_a_server_that_restarts_is_waited_for(access: ServerAccess) -> None:
    slow, victim = (connect(access, "postgres", purpose="test") for _ in range(2))
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        if not waits:
            os.kill(stopped, signal.SIGCONT)
        waits.append(seconds)
        time.sleep(seconds)

    stopped = pid_of(slow)
    os.kill(stopped, signal.SIGSTOP)
    try:
        # The server ends all sessions, and waits for this one; meanwhile it lets nobody in.
        os.kill(pid_of(victim), signal.SIGKILL)
        wait_until(lambda: is_restarting(access, "postgres"), "it recovers")
        reach = Reach({"one": (access, "postgres")}, deadline=DEADLINE, purpose="health", sleep=sleep)
        found = look(reach)
    finally:
        with suppress(ProcessLookupError):
            os.kill(stopped, signal.SIGCONT)
        slow.close()
        victim.close()
    assert waits, "the first try was refused"
    assert found.targets[0].is_reached, found.targets[0].detail
    assert reach.why_down("one") == ""


def test_a_session_that_is_lost_is_opened_again_and_the_server_is_asked_again(access: ServerAccess) -> None:
    with connect(access, "postgres", purpose="test") as session:
        session.execute("CREATE TABLE slow AS SELECT 1 AS i")

        def end_it() -> None:
            wait_until(lambda: session.execute(BUSY).fetchone() is not None, "the condition is looked at")
            session.execute("DELETE FROM slow")
            (pid,) = session.execute(BUSY).fetchone() or ()
            session.execute("SELECT pg_terminate_backend(%s)", (pid,))

        ender = threading.Thread(target=end_it)
        ender.start()
        found = look(reach_of(access), rule="SELECT coalesce(pg_sleep(60 * max(i))::text, '') = '' FROM slow")
        ender.join()
    assert found.targets[0].is_reached, found.targets[0].detail
    assert [one.is_true for one in found.targets[0].results if one.rule.name == "own"] == [True]
    assert found.targets[0].metrics["connections_most"] == 8
