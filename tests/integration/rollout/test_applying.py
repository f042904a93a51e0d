"""Applying to some databases of one server at the same time, and taking back exactly what was applied."""

from __future__ import annotations

import os
import pickle
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from psycopg import sql

from squizzle.migrations.history import read_history
from squizzle.migrations.operations import apply_versions
from squizzle.migrations.session import exclusive
from squizzle.postgres.access import Connection, ServerAccess, connect, server_pid
from squizzle.postgres.identity import Target
from squizzle.proof.digests import digest_schema
from squizzle.rollout.applying import apply_to_targets, take_back_from_targets
from squizzle.rollout.checks import check_targets, stops
from squizzle.rollout.orders import Proof, RolloutOrder, TargetResult
from squizzle.rollout.records import Fleet, FleetTarget, TargetReport, TargetState, UnreachableServer
from squizzle.settings.fleets import FleetServer
from tests.integration.cli.conftest import url_of
from tests.integration.migrations.conftest import Folder, folder
from tests.support.processes import wait_until
from tests.support.scratch import drop_databases

__all__ = ["folder"]
pytestmark = pytest.mark.one_server
SOME = 4


@dataclass(frozen=True, kw_only=True)
class Shops:
    """Databases `<prefix>_0` to `_3`, each with a table of three rows; `down` is a server that does not answer."""

    access: ServerAccess
    prefix: str

    @property
    def targets(self) -> tuple[FleetTarget, ...]:
        names = [f"{self.prefix}_{number}" for number in range(SOME)]
        return tuple(FleetTarget(name=name, server="one", database=name) for name in names)

    def order(self, folder: Folder, *versions: str) -> RolloutOrder:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            down = f"postgresql://nobody@127.0.0.1:{nobody.getsockname()[1]}/postgres"
        servers = {
            "one": FleetServer(name="one", url=url_of(self.access, "postgres")),
            "down": FleetServer(name="down", url=down),
        }
        fleet = Fleet(name="shops", environment="testing", servers=servers, targets=self.targets)
        proofs = {version: Proof(certificate=f"c-{version}") for version in versions}
        return RolloutOrder(
            rollout_id="r1", fleet=fleet, migrations=folder.read(), versions=versions, proofs=proofs, per_server=2
        )

    def session(self, number: int) -> Connection:
        return connect(self.access, f"{self.prefix}_{number}", purpose="test")

    def has(self, table: str) -> list[bool]:
        found = []
        for number in range(SOME):
            with self.session(number) as session:
                found.append(session.execute("SELECT to_regclass(%s) IS NOT NULL", (table,)).fetchone() == (True,))
        return found


@pytest.fixture
def shops(access: ServerAccess, control: Connection) -> Iterator[Shops]:
    prefix = f"ro_{secrets.token_hex(3)}"
    first = f"{prefix}_0"
    control.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0 STRATEGY file_copy").format(sql.Identifier(first)))
    with connect(access, first, purpose="test") as session:
        session.execute("CREATE TABLE goods AS SELECT n AS id FROM generate_series(1, 3) n")
    for number in range(1, SOME):
        names = (sql.Identifier(f"{prefix}_{number}"), sql.Identifier(first))
        control.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(*names))
    yield Shops(access=access, prefix=prefix)
    drop_databases(control, prefix)


def verdicts(results: tuple[TargetResult, ...]) -> list[str]:
    return [result.verdict.value for result in results]


def test_each_target_gets_what_it_lacks_once_and_gives_back_only_what_this_rollout_brought(
    shops: Shops, folder: Folder
) -> None:
    folder.write("0001", "CREATE TABLE a (i int)", down="DROP TABLE a")
    folder.write("0002", "CREATE TABLE b (i int)", down="DROP TABLE b")
    # The first had 0001 from somebody else, the second has everything.
    with shops.session(0) as session:
        apply_versions(session, Target(database=f"{shops.prefix}_0"), folder.read(), to="0001")
    with shops.session(1) as session:
        apply_versions(session, Target(database=f"{shops.prefix}_1"), folder.read())
    order = shops.order(folder, "0001", "0002")

    def apply() -> tuple[TargetResult, ...]:
        return apply_to_targets(order, shops.targets, max_failures=0, environ={})

    results = apply()
    assert verdicts(results) == ["applied", "done before", "applied", "applied"]
    assert [(one.before, one.after, one.versions) for one in results] == [
        ("0001", "0002", ("0002",)), ("0002", "0002", ()), (None, "0002", ("0001", "0002")),
        (None, "0002", ("0001", "0002")),
    ]  # fmt: skip
    with shops.session(2) as session:
        query = "SELECT version, rollout_id, certificate, environment FROM squizzle_history ORDER BY id"
        assert session.execute(query).fetchall() == [
            ("0001", "r1", "c-0001", "testing"), ("0002", "r1", "c-0002", "testing")
        ]  # fmt: skip
    assert verdicts(apply()) == ["done before"] * SOME

    back = take_back_from_targets(order, shops.targets, environ={})
    assert verdicts(back) == ["taken back", "nothing to take back", "taken back", "taken back"]
    assert [one.versions for one in back] == [("0002",), (), ("0002", "0001"), ("0002", "0001")]
    assert shops.has("a") == [True, True, False, False]
    assert shops.has("b") == [False, True, False, False]
    assert verdicts(take_back_from_targets(order, shops.targets, environ={})) == ["nothing to take back"] * SOME


def test_a_failure_ends_it_and_says_what_is_left_and_drift_from_the_certificate_is_one(
    shops: Shops, folder: Folder
) -> None:
    folder.write("0001", "CREATE UNIQUE INDEX one ON goods (id)")
    with shops.session(2) as session:
        before = digest_schema(session, schema="public").logical
    with shops.session(0) as session:
        session.execute("INSERT INTO goods VALUES (1)")
    with shops.session(1) as session:
        session.execute("ALTER TABLE goods ADD COLUMN drifted int")
    order = shops.order(folder, "0001")
    order = replace(order, proofs={"0001": Proof(certificate="c", schema_before=before)}, concurrency=1)
    gone = FleetTarget(name="gone", server="down", database="gone")
    targets = (*shops.targets[:2], gone, *shops.targets[2:])

    results = apply_to_targets(order, targets, max_failures=2, environ={})
    assert verdicts(results) == ["failed", "failed", "failed", "not begun", "not begun"]
    duplicate, drifted, unreachable, *_ = results
    assert "could not create unique index" in duplicate.error
    assert duplicate.database_state == "untouched"
    assert "the schema of" in drifted.error
    assert "changed since the certificates were compared with it" in drifted.error
    assert "no connection" in unreachable.error
    assert all(one.hint for one in results[:3])
    # One that cannot be taken back keeps no other one from it.
    applied = apply_to_targets(order, shops.targets[2:], max_failures=0, environ={})
    assert verdicts(applied) == ["applied"] * 2
    back = take_back_from_targets(order, shops.targets, environ={})
    assert verdicts(back) == ["nothing to take back"] * 2 + ["could not be taken back"] * 2
    assert "down.sql" in back[2].error


KILLED = """
import pickle, sys
from squizzle.rollout.applying import apply_to_targets
order, targets = pickle.load(sys.stdin.buffer)
apply_to_targets(order, targets, max_failures=0, environ={})
"""


def test_what_was_killed_is_gone_on_with_and_done_once(shops: Shops, folder: Folder, control: Connection) -> None:
    folder.write("0001", "INSERT INTO goods VALUES (4)", down="DELETE FROM goods WHERE id = 4")
    order = replace(shops.order(folder, "0001"), concurrency=1)
    with shops.session(2) as blocker, blocker.transaction():
        blocker.execute("LOCK TABLE goods")
        process = subprocess.Popen([sys.executable, "-c", KILLED], stdin=subprocess.PIPE)
        assert process.stdin is not None
        process.stdin.write(pickle.dumps((order, shops.targets)))
        process.stdin.close()

        def waits() -> bool:
            query = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'goods'::regclass"
            return blocker.execute(query).fetchone() != (0,)

        wait_until(waits, "the third target waits for its lock")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        # Its session ends although it still waits: the server notices that nobody is there any more.
        ours = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND application_name LIKE 'squizzle rollout%%'"
        name = (shops.targets[2].database,)
        wait_until(lambda: control.execute(ours, name).fetchone() == (0,), "its session ends")
    results = apply_to_targets(order, shops.targets, max_failures=0, environ={})
    assert verdicts(results) == ["done before", "done before", "applied", "applied"]
    for number in range(SOME):
        with shops.session(number) as session:
            assert session.execute("SELECT count(*) FROM goods").fetchone() == (4,)
            assert [row.success for row in read_history(session, "public").rows][-1] is True


def test_whoever_migrates_a_database_at_the_same_time_is_waited_for_a_moment_and_then_named(
    shops: Shops, folder: Folder
) -> None:
    folder.write("0001", "INSERT INTO goods SELECT 4 FROM pg_sleep(0.3)")
    first, second = (replace(shops.order(folder, "0001"), rollout_id=one) for one in ("r1", "r2"))
    with shops.session(0) as apply, exclusive(apply, Target(database=f"{shops.prefix}_0")):
        held, free = apply_to_targets(first, shops.targets[:2], max_failures=1, environ={})
        assert (held.verdict, free.verdict) == ("failed", "applied")
        assert (
            f"{shops.prefix}_0 is being migrated by somebody else: session {server_pid(apply)} (squizzle" in held.error
        )
        assert held.database_state == "untouched"

    def roll_out(order: RolloutOrder) -> set[str]:
        return set(verdicts(apply_to_targets(order, shops.targets, max_failures=0, environ={})))

    with ThreadPoolExecutor() as threads:
        assert set.union(*threads.map(roll_out, (first, second))) <= {"applied", "done before"}
    for number in range(SOME):
        with shops.session(number) as session:
            assert session.execute("SELECT count(*) FROM goods").fetchone() == (4,)


def test_a_history_that_differs_and_a_server_that_cannot_be_asked_end_it_before_it_begins(
    shops: Shops, folder: Folder
) -> None:
    folder.write("0001", "CREATE TABLE a (i int)")
    folder.write("0002", "CREATE TABLE b (i int)")
    with shops.session(1) as session:
        apply_versions(session, Target(database=f"{shops.prefix}_1"), folder.read(), to="0001")
    folder.write("0001", "CREATE TABLE a (i text)")
    order = shops.order(folder, "0001", "0002")
    fleet = replace(order.fleet, unreachable=(UnreachableServer(server="two", why="no answer"),))
    reports = [TargetReport(target=one, state=TargetState.READY, pending=order.versions) for one in shops.targets]

    def stopped(**options: bool) -> list[tuple[str, str]]:
        deadline = timedelta(seconds=30)
        rows = check_targets(replace(order, fleet=fleet), reports, deadline=deadline, environ={}, **options)
        return [(one.place, one.check) for one in stops(rows)]

    differs = (f"{shops.prefix}_1", "history and files agree")
    assert stopped() == [("two", "says which targets it has"), differs]
    assert stopped(exclude_unreachable=True) == [differs]
    # Whoever has all of the rollout is left alone, whatever else they have.
    done = apply_to_targets(replace(order, versions=("0001",)), shops.targets[1:2], max_failures=0, environ={})
    assert verdicts(done) == ["done before"]
