"""What was migrated is compared with its own time before: a query that became slower takes it back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from squizzle.postgres.access import ServerAccess
from squizzle.postgres.embedded import find_runtime, throwaway_cluster
from squizzle.rollout.report import RolloutOutcome, RolloutReport, StageOutcome
from squizzle.rollout.soak import Sign
from tasks.outcome import report_of
from tests.flows.test_roll_out import MANY, Shops, eight, outcomes, shops
from tests.support.processes import wait_until

__all__ = ["eight", "shops"]
pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning")]
STAGES = """
stages:
  - {name: canary, percentage: 5, duration: 5m, rollback_on_error: true}
  - {name: full, percentage: 100, rollback_on_error: true}
"""
WATCH = """
[fleets.shops.watch]
least_calls = 20
least_ms = 0.5
slower = 3.0
alerts = ["guide", "alerts.yml"]
"""
# It fired before, so the migration is not why.
ALERTS = "alerts: [{name: always, severity: critical, condition: SELECT true}]"


@pytest.fixture(scope="module")
def access() -> Iterator[ServerAccess]:
    """A server that counts queries; instead of the one that the other files share."""
    settings = {"shared_preload_libraries": "pg_stat_statements", "fsync": "off", "max_connections": "40"}
    with throwaway_cluster("watched", settings=settings, runtime=find_runtime()) as address:
        yield ServerAccess(host=str(address.socket_folder), port=address.port, user=address.user)


def test_a_canary_whose_queries_become_slow_is_taken_back_and_nobody_else_is_touched(shops: Shops) -> None:
    shops.configure(WATCH)
    shops.migration("0001_slow", "DROP INDEX goods_id", "CREATE INDEX goods_id ON goods (id)")
    (shops.folder / "stages.yaml").write_text(STAGES, encoding="utf-8")
    (shops.folder / "alerts.yml").write_text(ALERTS, encoding="utf-8")
    for number in range(MANY):
        with shops.session(number) as session:
            session.execute("CREATE EXTENSION pg_stat_statements; CREATE INDEX goods_id ON goods (id)")
            if not number:
                session.execute("INSERT INTO goods SELECT n FROM generate_series(4, 100000) n")
                session.execute("ANALYZE goods")

    with clients_of(shops):
        failed = shops.run()
    assert failed.is_failed()
    report: RolloutReport = report_of(failed)
    assert report.outcome is RolloutOutcome.TAKEN_BACK
    assert outcomes(report) == [("canary", StageOutcome.TAKEN_BACK)]
    assert report.stages[0].soak is not None
    (reason,) = report.stages[0].soak.reasons
    assert (reason.sign, reason.target) == (Sign.QUERY, f"one/{shops.prefix}_0")
    assert "before: SELECT count(*) FROM goods WHERE id = $1" in reason.text
    assert shops.ask("SELECT to_regclass('goods_id') IS NOT NULL") == [True] * MANY
    # What was kept to compare with goes with the rollout.
    with shops.session(0) as session:
        assert session.execute("SELECT count(*) FROM squizzle.rollout_baseline").fetchone() == (0,)


@contextmanager
def clients_of(shops: Shops) -> Iterator[None]:
    """An application of the canary that asks the same all the time; it has done so for a while."""
    ended = threading.Event()
    asked: list[int] = []

    def ask() -> None:
        with shops.session(0) as session:
            while not ended.wait(0.01):
                session.execute("SELECT count(*) FROM goods WHERE id = %s", (len(asked) + 1,))
                asked.append(1)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        wait_until(lambda: len(asked) > 60, "it was asked often enough to know what it takes")
        yield
    finally:
        ended.set()
        thread.join()
