"""fence, unfence and terminate, as an operator types them at three in the morning; killed at every step."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from squizzle.postgres.access import Connection, ServerAccess, connect
from squizzle.recovery.fence import fence, is_fenced
from squizzle.recovery.fences.order import make_fences, put_up_all, take_down_all
from squizzle.recovery.fences.records import Fence, FenceState
from squizzle.settings.fences import CONSOLE, CommandSettings, FenceSettings, KubernetesSettings, PgBouncerSettings
from tests.integration.cli.conftest import Squizzle, started_with, url_of
from tests.integration.migrations.conftest import Folder
from tests.support.halfway import Halfway
from tests.support.holds import hold
from tests.support.kubernetes_api import NAMESPACE, KubernetesApi, Workload, kubernetes_api
from tests.support.pgbouncer import PROGRAM, pgbouncer
from tests.support.processes import wait_until
from tests.support.ready_command import ReadyCommand
from tests.support.tally import Kind, note_strike

pytestmark = pytest.mark.parametrize("address", ["embedded"], indirect=True)

REPLICAS = 3
# What changes something, or is the last before something changes elsewhere.
STEPS = re.compile(r"INSERT INTO squizzle|DELETE FROM squizzle|ALTER DATABASE|pg_advisory_unlock|COMMIT|pg_terminate")


@pytest.fixture(scope="module")
def ready() -> Iterator[ReadyCommand]:
    """The command with the client for Kubernetes, which takes more than a second to load."""
    modules = [f"kubernetes.client.api.{name}_api" for name in ("apps_v1", "core_v1", "autoscaling_v2")]
    command = ReadyCommand(started_with(), also=modules)
    yield command
    command.close()


@dataclass
class Place:
    """A project with an application on Kubernetes, a queue that a command stops, and the database."""

    squizzle: Squizzle
    api: KubernetesApi
    web: Workload
    queue: Path
    database: str
    control: Connection

    def fences(self, control: Connection, *more: FenceSettings) -> tuple[Fence, ...]:
        """The same fences as in squizzle.toml, and more."""
        kubeconfig = self.squizzle.place / "kubeconfig"
        settings = (
            KubernetesSettings(namespace=NAMESPACE, name="web", kubeconfig=kubeconfig),
            CommandSettings(name="queue", close=("touch", str(self.queue)), open=("rm", "-f", str(self.queue))),
            *more,
        )
        return make_fences(control, self.database, settings)

    def add_pool(self, pool: ServerAccess) -> PgBouncerSettings:
        """One more fence of the environment, the last before the database."""
        config = self.squizzle.place / "squizzle.toml"
        text = config.read_text(encoding="utf-8").replace('"queue"]', '"queue", "pool"]')
        self.squizzle.configure(f'{text}\n[fences.pool]\nkind = "pgbouncer"\nurl = "{url_of(pool, CONSOLE)}"\n')
        return PgBouncerSettings(access=pool, database=self.database)

    @property
    def is_shut(self) -> tuple[bool, bool, bool]:
        return self.web.replicas == 0, self.queue.exists(), is_fenced(self.control, self.database)


TOML = """
[fences.app]
kind = "kubernetes"
namespace = "{namespace}"
deployment = "web"
kubeconfig = "kubeconfig"

[fences.queue]
kind = "command"
close = ["touch", "{queue}"]
open = ["rm", "-f", "{queue}"]

[environments.testing]
url = "{url}"
fences = ["app", "queue"]
"""


@pytest.fixture
def place(folder: Folder, ready: ReadyCommand, url: str, database: str, control: Connection) -> Iterator[Place]:
    squizzle = Squizzle(place=folder.path.parent, ready=ready)
    queue = squizzle.place / "queue is stopped"
    squizzle.configure(TOML.format(url=url, queue=queue, namespace=NAMESPACE))
    with kubernetes_api() as api:
        (squizzle.place / "kubeconfig").write_text(api.kubeconfig, encoding="utf-8")
        web = api.workload("web", REPLICAS, lag=0, grace=1)
        yield Place(squizzle=squizzle, api=api, web=web, queue=queue, database=database, control=control)


def test_an_environment_is_fenced_and_opened_as_a_whole_each_as_often_as_you_like(place: Place) -> None:
    squizzle = place.squizzle

    for _ in range(2):
        done = squizzle("fence", "--env", "testing", "--reason", "orders are wrong", "--as", "ops", "--json")
        assert (done.code, place.is_shut) == (0, (True, True, True)), done.err
        assert {name: done.document[name] for name in ("database", "state", "kept_as")} == {
            "database": place.database,
            "state": "fenced",
            "kept_as": None,
        }
        assert [(one["kind"], one["state"]) for one in done.document["fences"]] == [
            ("kubernetes", "fenced"),
            ("command", "fenced"),
            ("database", "fenced"),
        ]
    holds = [[(hold["holder"], hold["reason"]) for hold in one["holds"]] for one in done.document["fences"]]
    assert holds == [[("ops", "orders are wrong")]] * 3
    shown = squizzle("fence", "--env", "testing", "--show")
    assert shown.code == 0
    assert f"database {place.database}: fenced\n  held by 'ops' since 20" in shown.out
    other = squizzle("unfence", "--env", "testing", "--as", "somebody else")
    assert (other.code, place.is_shut) == (9, (True, True, True))
    assert "held by 'ops'" in other.out
    for _ in range(2):
        done = squizzle("unfence", "--env", "testing", "--as", "ops", "--json")
        assert (done.code, done.document["state"], place.is_shut) == (0, "open", (False, False, False)), done.err
    assert (place.web.replicas, place.web.annotations) == (REPLICAS, {})


def test_one_fence_fails_the_others_are_up_and_the_exit_code_says_so(place: Place) -> None:
    place.api.forbidden = {"deployments"}

    done = place.squizzle("fence", "--env", "testing", "--json")

    assert done.code == 7
    assert "1 of 3 fences could not be put up" in done.error["message"]
    assert done.error["database_state"] == "changed"
    assert "docs/fences.md" in done.error["hint"]
    assert place.is_shut == (False, True, True)
    assert place.squizzle("unfence", "--env", "testing", "--json").code == 7
    assert place.is_shut == (False, False, False)


def test_the_fences_of_an_environment_can_be_left_alone_or_chosen(place: Place) -> None:
    place.squizzle("fence", "--env", "testing", "--only-database")
    assert place.is_shut == (False, False, True)
    place.squizzle("fence", "--env", "testing", "--fence", "queue")
    assert place.is_shut == (False, True, True)
    assert place.squizzle("unfence", "--env", "testing", "--all").code == 0
    assert place.is_shut == (False, False, False)
    unknown = place.squizzle("fence", "--env", "testing", "--fence", "pool", "--json")
    assert unknown.code == 2
    assert unknown.error["message"] == "there is no fence 'pool'; known: app, queue"


def test_what_was_shut_by_hand_needs_all(squizzle: Squizzle, control: Connection, database: str) -> None:
    fence(control, database)
    done = squizzle("unfence")
    assert (done.code, done.out) == (9, f"database {database}: fenced (whoever shut it has left no note)\n")
    assert is_fenced(control, database)
    assert squizzle("unfence", "--all").code == 0
    assert not is_fenced(control, database)


@pytest.mark.parametrize("verb", ["fence", "terminate"])
def test_another_database_than_was_meant_is_left_alone(place: Place, connection: Connection, verb: str) -> None:
    connection.execute(
        "CREATE SCHEMA squizzle; CREATE TABLE squizzle.identity AS SELECT gen_random_uuid() AS id,"
        " 'production' AS environment, NULL::text AS fleet, 'shop' AS name"
    )

    done = place.squizzle(verb, "--env", "testing", "--json")

    assert done.code == 9
    assert "environment is production, expected testing" in done.error["message"]
    assert place.is_shut == (False, False, False)
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_production_asks_first(place: Place) -> None:
    config = place.squizzle.place / "squizzle.toml"
    place.squizzle.configure(
        config.read_text(encoding="utf-8").replace("environments.testing", "environments.production")
    )
    for verb, action in (("fence", "fence it"), ("unfence", "let clients in"), ("terminate", "end all sessions")):
        done = place.squizzle(verb, "--env", "production", "--json")
        assert (done.code, done.error["message"]) == (9, f"{action} in production needs a yes")
    assert place.is_shut == (False, False, False)
    assert place.squizzle("fence", "--env", "production", "--yes").code == 0
    assert place.is_shut == (True, True, True)
    assert place.squizzle("unfence", "--env", "production", "--yes").code == 0


def test_terminate_ends_who_is_in_and_leaves_the_door_as_it_was(
    squizzle: Squizzle, access: ServerAccess, control: Connection, database: str
) -> None:
    with connect(access, database, purpose="client"), connect(access, database, purpose="client"):
        done = squizzle("terminate", "--json")
    assert done.document == {"database": database, "state": "open", "kept_as": None, "ended": 2}
    assert not is_fenced(control, database)
    assert squizzle("terminate").out == f"{database}: 0 sessions ended; it is open\n"
    with connect(access, database, purpose="client"):
        assert squizzle("terminate").out == f"{database}: 1 session ended; it is open\n"


def test_terminate_does_not_count_its_own_session_that_still_ends(
    squizzle: Squizzle, access: ServerAccess, database: str
) -> None:
    over = threading.Event()
    slowed: set[int] = set()

    def slow_down() -> None:
        query = "SELECT pid FROM pg_stat_activity WHERE datname = %s AND application_name LIKE 'squizzle fence%%'"
        with connect(access, "postgres", purpose="test") as other:
            while not over.is_set():
                for (pid,) in other.execute(query, (database,)):
                    slowed.add(pid)
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGSTOP)
                        time.sleep(0.05)
                        os.kill(pid, signal.SIGCONT)

    slower = threading.Thread(target=slow_down)
    slower.start()
    try:
        ended = [squizzle("terminate", "--json").document["ended"] for _ in range(6)]  # each is slowed by chance
    finally:
        over.set()
        slower.join()
    assert slowed
    assert ended == [0] * 6


def killed_everywhere(
    place: Place, ready: ReadyCommand, access: ServerAccess, tmp_path: Path, verb: str
) -> Iterator[str]:
    """Start the verb again and again, and kill it each time one step later; says where, until it comes to its end."""
    server = Path(access.host) / f".s.PGSQL.{access.port}"
    way = tmp_path / "way"
    way.mkdir()
    config = place.squizzle.place / "squizzle.toml"
    text = config.read_text(encoding="utf-8")
    through = replace(access, host=str(way))
    for kind in ("statement", "request"):
        is_killed, step = True, 0
        while is_killed:
            step += 1
            seen: list[str] = []

            def stops_at(
                statement: str, _parameters: bytes, seen: list[str] = seen, step: int = step, stops: str = kind
            ) -> bool:
                seen += [statement] if STEPS.search(statement) else []
                return stops == "statement" and len(seen) == step and seen[-1] == statement

            with Halfway(way, server, stops_at) as halfway:
                place.squizzle.configure(text.replace(url_of(access, place.database), url_of(through, place.database)))
                place.api.requests.clear()
                place.api.hanging.clear()
                place.api.hang_after = step if kind == "request" else 0
                runner = threading.Thread(target=place.squizzle, args=(verb, "--env", "testing", "--as", "recovery"))
                runner.start()
                reached = halfway.reached if kind == "statement" else place.api.hanging
                wait_until(lambda: reached.is_set() or not runner.is_alive(), f"{kind} {step}, or the end")  # noqa: B023
                is_killed = reached.is_set()
                if is_killed:
                    ready.kill_run()
                    note_strike(Kind.KILL, verb, "the run itself", cell=f"{kind} {step}")
                halfway.hang_up()
                runner.join()
                place.api.hang_after = 0
            yield f"{kind} {step}"


@pytest.mark.kills
@pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed")
@pytest.mark.parametrize("verb", ["fence", "unfence"])
def test_killed_at_any_step_and_run_again_everything_is_as_promised(
    place: Place, ready: ReadyCommand, access: ServerAccess, tmp_path: Path, verb: str
) -> None:
    kills = []
    with pgbouncer(access, "transaction", auth_type="trust") as pool:
        fences = place.fences(place.control, place.add_pool(pool))
        if verb == "unfence":
            put_up_all(fences, hold())
        for where in killed_everywhere(place, ready, access, tmp_path, verb):
            kills.append(where)
            if verb == "fence":
                assert {one.state for one in put_up_all(fences, hold())} == {FenceState.FENCED}, where
            take_down_all(fences, "recovery")
            assert place.is_shut == (False, False, False), where
            assert (place.web.replicas, place.web.annotations) == (REPLICAS, {}), where
            assert {(one.look().state, one.look().holds) for one in fences} == {(FenceState.OPEN, ())}, where
            if verb == "unfence":
                put_up_all(fences, hold())
        take_down_all(fences, None)
    assert len(kills) > 17, kills
