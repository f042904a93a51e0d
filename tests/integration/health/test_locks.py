"""Who blocks whom on real servers, and that exactly those are ended that may be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from squizzle.backups.taking import _LOCK as BACKUP_LOCK
from squizzle.errors import IdentityMismatchError
from squizzle.health.ending import EndState, end_sessions
from squizzle.health.lock_tree import lock_tree
from squizzle.health.reading import OUR_LOCKS, read_locks
from squizzle.health.records import LockPicture
from squizzle.health.release import look, release
from squizzle.health.release_plan import Method, ReleasePlan, ReleasePolicy, plan_release
from squizzle.migrations.session import LOCK_KEYS
from squizzle.postgres.access import Connection, ServerAccess
from squizzle.postgres.identity import ExpectedIdentity, Target, ensure_identity
from squizzle.recovery.scratch import _LOCK_CLASS as SCRATCH_LOCK
from tests.integration.health.conftest import Clients
from tests.support.processes import wait_until

PARALLEL = (
    "SET max_parallel_workers_per_gather = 2",
    "SET parallel_setup_cost = 0",
    "SET parallel_tuple_cost = 0",
    "SET min_parallel_table_scan_size = 0",
)
Waiting = Callable[..., None]
AT_ONCE = ReleasePolicy(
    idle_longer_than=timedelta(), blocker_longer_than=timedelta(), waiting_longer_than=timedelta(), spare=()
)
IDLE_ONLY = replace(AT_ONCE, blocker_longer_than=None)


def picture_and_plan(connection: Connection, policy: ReleasePolicy) -> tuple[LockPicture, ReleasePlan]:
    picture = read_locks(connection)
    return picture, plan_release(picture, policy)


def test_a_chain_is_shown_in_order_and_its_idle_root_alone_is_ended(
    connection: Connection, target: Target, clients: Clients, until_waiting: Waiting
) -> None:
    holder = clients("forgotten psql").does("BEGIN", "SELECT * FROM orders", "SELECT 'secret'")
    second = clients("migration of somebody").begins("ALTER TABLE orders ADD COLUMN extra int")
    until_waiting(second)
    third = clients("shop").begins("SELECT count(*) FROM orders")
    until_waiting(second, third)

    picture, plan = picture_and_plan(connection, IDLE_ONLY)

    rows = lock_tree(picture)
    assert [(row.depth, row.session and row.session.pid, row.behind) for row in rows] == [
        (0, holder.pid, 2),
        (1, second.pid, 1),
        (2, third.pid, 0),
    ]
    assert [row.wait.words() for row in rows if row.wait] == [
        "ACCESS EXCLUSIVE on public.orders",
        "ACCESS SHARE on public.orders",
    ]
    assert [one.session.pid for one in plan.endings] == [holder.pid]
    assert plan.endings[0].reason.startswith("idle in transaction for ")
    assert "2 behind it" in plan.endings[0].reason

    done = release(connection, target, picture, plan)

    assert [one.state for one in done.ended] == [EndState.ENDED]
    assert (second.ends(), third.ends()) == ("", "")
    assert done.after is not None
    assert not [one for one in done.after.waits if one.pid == second.pid]
    assert not holder.lives
    assert second.lives


def test_who_must_be_spared_is_spared_with_the_reason(
    connection: Connection, clients: Clients, until_waiting: Waiting, access: ServerAccess
) -> None:
    # One row each, so that each blocks somebody of its own.
    connection.execute("INSERT INTO orders SELECT n, '' FROM generate_series(1, 7) n")
    blockers = {
        "superuser": clients("admin", user=access.user),
        "walsender": clients("standby", replication="database"),
        "ours": clients("squizzle migration"),
        "beside ours": clients("squizzle client program"),
        "backup program": clients("pg_dump"),
        "not asked for": clients("another"),
        "named like ours": clients("squizzle impostor", user=access.user),
    }
    blockers["ours"].does(f"SELECT pg_advisory_lock({LOCK_KEYS[0]}, {LOCK_KEYS[1]})")
    row = "SELECT id FROM orders WHERE id = {} FOR UPDATE"
    for number, client in enumerate(blockers.values(), start=1):
        client.does("BEGIN", row.format(number))
    waiting = [clients().begins(row.format(number)) for number in range(1, 8)]
    until_waiting(*waiting)
    policy = replace(AT_ONCE, spare=("pg_dump*",), applications=("sho*", "pg_dump"))

    picture, plan = picture_and_plan(connection, policy)

    assert plan.endings == ()
    reasons = {one.who.split()[1]: one.reason for one in plan.spared}
    expected = {
        "superuser": "is a superuser",
        "walsender": "it is replication",
        "ours": "a run of Squizzle's",
        "beside ours": "a run of Squizzle's",
        "backup program": "sessions called pg_dump are spared",
        "not asked for": "only sessions called sho* or pg_dump are ended",
        "named like ours": "is a superuser",
    }
    for what, words in expected.items():
        assert words in reasons[str(blockers[what].pid)], what
    assert all(one.by_hand.startswith("SELECT pg_terminate_backend(") for one in plan.spared)
    assert all(client.lives for client in blockers.values())
    # Once the run is over, a name alone protects nobody.
    blockers["ours"].does("SELECT pg_advisory_unlock_all()")
    _picture, plan = picture_and_plan(connection, replace(AT_ONCE, applications=("squizzle*",)))
    assert {one.session.pid for one in plan.endings} == {blockers["ours"].pid, blockers["beside ours"].pid}
    for client in blockers.values():
        client.does("ROLLBACK")
    assert [one.ends() for one in waiting] == [""] * 7
    assert picture.longest_wait > timedelta()


def test_every_advisory_lock_of_ours_is_known_as_ours() -> None:
    assert {key >> 8 for key in (LOCK_KEYS[0], BACKUP_LOCK[0], SCRATCH_LOCK)} == {OUR_LOCKS}


def test_a_session_that_is_another_or_did_something_since_is_not_ended(
    connection: Connection, clients: Clients, until_waiting: Waiting
) -> None:
    holder = clients().does("BEGIN", "LOCK TABLE orders")
    waiter = clients().begins("SELECT count(*) FROM orders")
    until_waiting(waiter)
    _picture, plan = picture_and_plan(connection, AT_ONCE)
    (ending,) = plan.endings
    session = ending.session
    assert session.backend_start is not None
    number_used_again = replace(
        ending, session=replace(session, backend_start=session.backend_start - timedelta(seconds=1))
    )

    first = end_sessions(connection, [number_used_again])
    holder.does("SELECT 1")
    second = end_sessions(connection, [ending])

    assert [one.state for one in (*first, *second)] == [EndState.GONE, EndState.CHANGED]
    assert "spared: it did something else by then" in second[0].sentence()
    assert holder.lives
    holder.does("ROLLBACK")
    assert waiter.ends() == ""


def test_a_blocker_that_works_is_cancelled_and_keeps_its_connection(
    connection: Connection, target: Target, clients: Clients, until_waiting: Waiting
) -> None:
    connection.execute("INSERT INTO users SELECT generate_series(1, 10000)")
    connection.execute("ANALYZE users")
    worker = clients("report").does(*PARALLEL, "BEGIN", "LOCK TABLE orders")
    worker.begins("SELECT count(*) FROM users WHERE pg_sleep(600) IS NOT NULL")
    waiter = clients().begins("SELECT count(*) FROM orders")
    until_waiting(waiter)
    wait_until(lambda: sum(one.workers for one in read_locks(connection).sessions) > 0, "a parallel worker works")

    picture, spared = picture_and_plan(connection, IDLE_ONLY)
    assert [row.session and row.session.kind for row in lock_tree(picture)] == ["client backend"] * 2
    assert "parallel worker" not in {one.kind for one in picture.sessions}
    assert spared.endings == ()
    assert [one.reason for one in spared.spared] == ["it works, and no limit is given for blockers that do"]
    picture, plan = picture_and_plan(connection, AT_ONCE)
    assert [(one.session.pid, one.method) for one in plan.endings] == [(worker.pid, Method.CANCEL)]
    done = release(connection, target, picture, plan)

    assert [one.state for one in done.ended] == [EndState.CANCELLED]
    assert "canceling statement" in worker.ends()
    assert waiter.ends() == ""
    assert worker.lives


def test_a_blocker_that_ignores_the_cancel_is_terminated_where_the_policy_says_so(
    connection: Connection, clients: Clients, monkeypatch: pytest.MonkeyPatch, until_waiting: Waiting
) -> None:
    monkeypatch.setattr("squizzle.health.ending._PATIENCE_MS", 50)
    stubborn = clients("stubborn").does("BEGIN", "LOCK TABLE orders")
    body = "BEGIN LOOP BEGIN PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END"
    stubborn.begins(f"DO $$ {body} $$")
    waiter = clients().begins("SELECT count(*) FROM orders")
    until_waiting(waiter)

    _picture, plan = picture_and_plan(connection, replace(AT_ONCE, terminate=False))
    assert [one.state for one in end_sessions(connection, plan.endings)] == [EndState.STILL_THERE]
    monkeypatch.setattr("squizzle.health.ending._PATIENCE_MS", 5000)
    ended = end_sessions(connection, [replace(plan.endings[0], method=Method.TERMINATE)])

    assert [one.state for one in ended] == [EndState.ENDED]
    assert waiter.ends() == ""


def test_a_prepared_transaction_is_named_with_the_commands_that_end_it(
    connection: Connection, clients: Clients, until_waiting: Waiting
) -> None:
    clients().does("BEGIN", "LOCK TABLE orders", "PREPARE TRANSACTION 'it''s mine'")
    clients().does("BEGIN", "LOCK TABLE users", "PREPARE TRANSACTION 'another'")
    waiter = clients().begins("SELECT count(*) FROM orders")
    until_waiting(waiter)
    try:
        picture, plan = picture_and_plan(connection, AT_ONCE)

        assert plan.endings == ()
        (spared,) = plan.spared
        assert spared.who.startswith("prepared transaction it's mine (")
        assert spared.by_hand == "COMMIT PREPARED 'it''s mine' or ROLLBACK PREPARED 'it''s mine'"
        assert spared.behind == 1
        assert [row.depth for row in lock_tree(picture)] == [0, 1]
    finally:
        connection.execute("ROLLBACK PREPARED 'it''s mine'")
        connection.execute("ROLLBACK PREPARED 'another'")
    assert waiter.ends() == ""


def test_what_may_not_be_seen_or_ended_is_told_with_the_right_that_is_missing(
    connection: Connection, clients: Clients, until_waiting: Waiting, control: Connection, application_role: str
) -> None:
    holder = clients().does("BEGIN", "LOCK TABLE orders")
    waiter = clients().begins("SELECT count(*) FROM orders")
    until_waiting(waiter)
    _picture, plan = picture_and_plan(connection, AT_ONCE)
    control.execute("CREATE ROLE onlooker LOGIN")
    try:
        onlooker = clients("onlooker", user="onlooker").connection
        picture, blind = picture_and_plan(onlooker, AT_ONCE)
        control.execute("GRANT pg_read_all_stats TO onlooker")
        (ended,) = end_sessions(onlooker, plan.endings)
        onlooker.close()
    finally:
        control.execute("DROP ROLE onlooker")

    assert blind.endings == ()
    assert "pg_read_all_stats" in blind.spared[0].reason
    assert ended.state is EndState.NOT_ALLOWED
    assert "GRANT pg_signal_backend to onlooker" in ended.sentence()
    assert application_role in plan.endings[0].session.who()
    assert picture.waits
    holder.does("ROLLBACK")
    assert waiter.ends() == ""


def test_nobody_is_ended_in_a_database_that_was_not_meant(connection: Connection, database: str) -> None:
    ensure_identity(connection, ExpectedIdentity(environment="staging"), database=database)
    meant = Target(database=database, expected=ExpectedIdentity(environment="production"))

    with pytest.raises(IdentityMismatchError):
        look(connection, meant)
    with pytest.raises(IdentityMismatchError):
        release(connection, meant, LockPicture(database=database, at=_now(connection)), ReleasePlan())


def _now(connection: Connection) -> object:
    row = connection.execute("SELECT now()").fetchone()
    assert row is not None
    return row[0]
