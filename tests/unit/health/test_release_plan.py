"""Who would be ended: every reason to spare somebody, and the shapes that waits can have."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from squizzle.health.lock_tree import lock_tree
from squizzle.health.records import LockPicture, LockWait, Session, query_words
from squizzle.health.release_plan import Method, ReleasePolicy, plan_release

NOW = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def session(pid: int, **changes: Any) -> Session:
    idle = Session(
        pid=pid,
        backend_start=NOW - 3 * HOUR,
        kind="client backend",
        database="shop",
        user="app",
        is_superuser=False,
        application="web",
        client="10.0.0.7",
        state="idle in transaction",
        query="UPDATE users SET name = 'x'",
        transaction_start=NOW - HOUR,
        query_start=NOW - HOUR,
        state_change=NOW - HOUR,
    )
    return replace(idle, **changes)


def wait(pid: int, *blockers: int, waited: timedelta = HOUR) -> LockWait:
    return LockWait(pid=pid, since=NOW - waited, kind="transactionid", relation="", mode="ShareLock", blockers=blockers)


def picture(sessions: list[Session], *waits: LockWait) -> LockPicture:
    return LockPicture(database="shop", at=NOW, sessions=tuple(sessions), waits=waits)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kind": "", "backend_start": None}, "pg_read_all_stats"),
        ({"kind": "autovacuum worker", "state": "active", "query": "autovacuum: VACUUM t (to prevent wraparound)"}, "wraparound"),
        ({"kind": "logical replication worker"}, "replication"),
        ({"kind": "logical replication parallel worker"}, "replication"),
        ({"kind": "background worker"}, "process of the server"),
        ({"kind": "startup"}, "process of the server"),
        ({"database": "other"}, "another database"),
        ({"holds_our_lock": True, "application": "renamed by a script"}, "run of Squizzle's"),
        ({"state_change": NOW - timedelta(minutes=4)}, "for 4 min only (limit: 5 min)"),
        ({"state": "active"}, "no limit is given"),
    ],
)  # fmt: skip
def test_a_blocker_is_spared_with_the_reason(changes: dict[str, Any], reason: str) -> None:
    plan = plan_release(picture([session(1, **changes), session(2)], wait(2, 1)), ReleasePolicy())

    assert plan.endings == ()
    assert reason in plan.spared[0].reason
    assert plan.spared[0].behind == 1


def test_nothing_is_ended_for_somebody_who_has_just_begun_to_wait() -> None:
    plan = plan_release(picture([session(1), session(2)], wait(2, 1, waited=timedelta(seconds=1))), ReleasePolicy())

    assert plan.endings == ()
    assert "longer than 1.0 s (limit: 5.0 s)" in plan.spared[0].reason


def test_idle_transactions_come_first_then_those_that_hold_up_most() -> None:
    sessions = [
        session(1, state="active"),
        session(2),
        session(3),
        *(session(pid, state="active") for pid in range(10, 16)),
    ]
    waits = [wait(10, 1), wait(11, 1), wait(12, 1), wait(13, 2), wait(14, 3), wait(15, 14)]
    policy = ReleasePolicy(blocker_longer_than=timedelta(minutes=30), every_idle=True)

    plan = plan_release(picture([*sessions, session(20)], *waits), policy)

    assert [(one.session.pid, one.method, one.behind) for one in plan.endings] == [
        (3, Method.TERMINATE, 2),
        (2, Method.TERMINATE, 1),
        (20, Method.TERMINATE, 0),
        (1, Method.CANCEL, 3),
    ]
    assert plan.key("shop") == plan_release(
        replace(picture([*sessions, session(20)], *waits), at=NOW + HOUR), policy
    ).key("shop")


def test_a_session_level_lock_of_an_idle_session_cannot_be_cancelled_away() -> None:
    policy = ReleasePolicy(blocker_longer_than=timedelta(minutes=30))

    plan = plan_release(picture([session(1, state="idle", transaction_start=None), session(2)], wait(2, 1)), policy)

    assert [one.method for one in plan.endings] == [Method.TERMINATE]


def test_an_ordinary_autovacuum_is_cancelled_and_never_loses_its_connection() -> None:
    policy = ReleasePolicy(blocker_longer_than=timedelta(minutes=30))
    vacuum = session(1, kind="autovacuum worker", state="active", query="autovacuum: VACUUM t", application="", user="")

    (ending,) = plan_release(picture([vacuum, session(2)], wait(2, 1)), policy).endings

    assert (ending.method, ending.or_terminate) == (Method.CANCEL, False)


def test_who_waits_in_a_circle_is_left_to_the_server() -> None:
    found = picture([session(1), session(2), session(3)], wait(1, 2), wait(2, 1), wait(3, 1))

    assert [(row.depth, row.session and row.session.pid, row.is_deadlocked) for row in lock_tree(found)] == [
        (0, 1, True),
        (1, 2, False),
        (1, 3, False),
    ]
    assert plan_release(found, ReleasePolicy()).endings == ()


def test_a_blocker_that_has_gone_meanwhile_blocks_nobody() -> None:
    assert plan_release(picture([session(2)], wait(2, 1)), ReleasePolicy()).endings == ()


def test_a_long_queue_in_which_everybody_waits_for_all_before_is_one_branch() -> None:
    count = 400
    found = picture([session(pid) for pid in range(count)], *(wait(pid, *range(pid)) for pid in range(1, count)))

    rows = lock_tree(found)

    assert [(row.depth, row.behind) for row in rows] == [(place, count - 1 - place) for place in range(count)]


def test_a_password_in_a_query_is_not_told() -> None:
    assert (
        query_words("ALTER ROLE app\n PASSWORD 'sec''ret' VALID UNTIL 'x'")
        == "ALTER ROLE app PASSWORD '…' VALID UNTIL 'x'"
    )
    assert query_words("alter role app password $$secret$$") == "alter role app password '…'"
    assert "ret" not in query_words("ALTER ROLE a PASSWORD E'sec")
