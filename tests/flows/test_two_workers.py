"""Workers under a rollout: a machine dies and another goes on; a worker dies alone, or is restarted as services are."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL

from flows.roll_out import roll_out
from squizzle.postgres.access import Connection
from tests.conftest import ROOT
from tests.flows.test_roll_out import MANY, NOBODY_ASKED, Shops, eight, end_sessions, shops
from tests.support.processes import wait_until
from tests.support.rollout_form import as_form
from tests.support.tally import Kind, note_strike

__all__ = ["eight", "shops"]  # fixtures
pytestmark = [pytest.mark.chaos, pytest.mark.filterwarnings("ignore::ResourceWarning")]
_SET_FOLDER = "prefect.deployments.steps.set_working_directory"


@contextmanager
def worker(pool: str, name: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [str(Path(sys.executable).with_name("prefect")), "worker", "start", "--pool", pool, "--name", name]
    environment = {**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value()), "PREFECT_WORKER_QUERY_SECONDS": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: b"started!" in log.read_bytes(), f"{name} starts")
        yield process
    finally:
        kill(process.pid)
        process.wait()


def kill(pid: int) -> None:
    """As a machine dies: a worker and the flow that it runs, at once."""
    if psutil.pid_exists(pid):
        for one in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            os.kill(one.pid, signal.SIGKILL)


def deployed(client: SyncPrefectClient, pool: str, **job_variables: object) -> Any:
    client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
    return client.create_deployment(
        client.create_flow(roll_out),
        name=pool,
        work_pool_name=pool,
        job_variables=job_variables,
        entrypoint="flows.roll_out:roll_out",
        pull_steps=[{_SET_FOLDER: {"directory": str(ROOT)}}],
    )


def state_of(client: SyncPrefectClient, run: FlowRun) -> Any:
    return client.read_flow_run(run.id).state


@pytest.fixture
def parameters(shops: Shops) -> dict[str, Any]:
    """Of a rollout of one version, about which nobody is asked."""
    shops.migration("0001_more", "INSERT INTO goods VALUES (4)", "DELETE FROM goods WHERE id = 4")
    (shops.folder / "stages.yaml").write_text(NOBODY_ASKED, encoding="utf-8")
    return as_form(
        {
            "fleet": "shops",
            "stages": str(shops.folder / "stages.yaml"),
            "configuration": str(shops.folder / "squizzle.toml"),
            "dry_run": False,
            "watch_every_s": 1,
        }
    )


def wait_for_the_last_stage(blocker: Connection) -> None:
    """The sixth target waits for its lock, which somebody has."""
    query = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'goods'::regclass"
    wait_until(lambda: blocker.execute(query).fetchone() != (0,), "a target waits for its lock", seconds=300)


def all_have_it_once(shops: Shops) -> bool:
    applied = shops.ask("SELECT count(*) FROM squizzle_history WHERE success")
    rollouts = set(shops.ask("SELECT max(rollout_id) FROM squizzle_history"))
    return (shops.ask("SELECT count(*) FROM goods"), applied, len(rollouts)) == ([4] * MANY, [1] * MANY, 1)


def test_chaos_kills_a_worker_with_its_run_and_the_next_worker_brings_it_to_its_end(
    shops: Shops, parameters: dict[str, Any], tmp_path: Path
) -> None:
    pool = f"pool-{secrets.token_hex(3)}"
    with get_client(sync_client=True) as client:
        deployment = deployed(client, pool)
        with worker(pool, "first", tmp_path / "first") as struck:
            chaos = {"env": {"SQUIZZLE_CHAOS": "rate=1 seed=1 kinds=kill-worker"}}
            client.create_flow_run_from_deployment(deployment, parameters=parameters, job_variables=chaos)
            struck.wait(300)
            note_strike(Kind.KILL, "roll-out", "worker", cell="chaos: kill-worker")
            assert struck.returncode == -signal.SIGKILL
            said = (tmp_path / "first").read_text(encoding="utf-8")
            assert "chaos: kill-worker at step " in said
        with worker(pool, "second", tmp_path / "second"):
            again = client.create_flow_run_from_deployment(deployment, parameters=parameters)
            wait_until(lambda: state_of(client, again).is_final(), "the second one ends", seconds=300, every_s=0.5)
            ended = state_of(client, again)
    assert ended.is_completed(), ended.message
    assert shops.ask("SELECT count(*) FROM goods") == [4] * MANY


def test_a_rollout_whose_worker_died_goes_on_on_the_other_one(
    shops: Shops, parameters: dict[str, Any], tmp_path: Path
) -> None:
    pool = f"pool-{secrets.token_hex(3)}"
    with ExitStack() as stack:
        client = stack.enter_context(get_client(sync_client=True))
        deployment = deployed(client, pool)
        workers = [stack.enter_context(worker(pool, name, tmp_path / name)) for name in ("left", "right")]
        with shops.session(5) as blocker, blocker.transaction():
            blocker.execute("LOCK TABLE goods")
            first = client.create_flow_run_from_deployment(deployment, parameters=parameters)
            wait_for_the_last_stage(blocker)
            busy = next(one for one in workers if psutil.Process(one.pid).children())
            kill(busy.pid)
            note_strike(Kind.KILL, "roll-out", "worker", cell="a target waits for its lock")
            end_sessions(shops)
        again = client.create_flow_run_from_deployment(deployment, parameters=parameters)
        wait_until(lambda: state_of(client, again).is_final(), "the other one ends", seconds=300, every_s=0.5)
        ended, left = state_of(client, again), state_of(client, first)
    assert ended.is_completed(), ended.message
    # Nobody is there who could say so: a machine that died says nothing.
    assert left.is_running()
    assert all_have_it_once(shops)


@pytest.mark.parametrize("streams", [True, False])
def test_a_rollout_whose_worker_alone_died_is_not_begun_twice_by_the_next_one(
    shops: Shops, parameters: dict[str, Any], tmp_path: Path, *, streams: bool
) -> None:
    """A worker that shows its runs' logs takes them along, at the next line; one that does not leaves them at work."""
    pool = f"pool-{secrets.token_hex(3)}"
    with get_client(sync_client=True) as client:
        deployment = deployed(client, pool, stream_output=streams)
        with worker(pool, "only", tmp_path / "first") as one, shops.session(5) as blocker, blocker.transaction():
            blocker.execute("LOCK TABLE goods")
            run = client.create_flow_run_from_deployment(deployment, parameters=parameters)
            wait_for_the_last_stage(blocker)
            os.kill(one.pid, signal.SIGKILL)
            one.wait()
            note_strike(Kind.KILL, "roll-out", "worker", cell=f"alone, streams: {streams}")
        with worker(pool, "only", tmp_path / "second"):
            wait_until(lambda: state_of(client, run).is_final(), "the run ends", seconds=300, every_s=0.5)
            ended = state_of(client, run)
            assert client.read_flow_run(run.id).run_count == 1
            if streams:
                assert ended.is_crashed(), ended.message
                run = client.create_flow_run_from_deployment(deployment, parameters=parameters)
                wait_until(lambda: state_of(client, run).is_final(), "it is gone on with", seconds=300, every_s=0.5)
                ended = state_of(client, run)
    assert ended.is_completed(), ended.message
    assert all_have_it_once(shops)


def test_a_rollout_is_gone_on_with_behind_a_restart_of_its_worker(
    shops: Shops, parameters: dict[str, Any], tmp_path: Path
) -> None:
    """As `systemctl restart` does it: the run is told to end, says what stands, and is started again."""
    pool = f"pool-{secrets.token_hex(3)}"
    with get_client(sync_client=True) as client:
        deployment = deployed(client, pool)
        with worker(pool, "only", tmp_path / "first") as one, shops.session(5) as blocker, blocker.transaction():
            blocker.execute("LOCK TABLE goods")
            first = client.create_flow_run_from_deployment(deployment, parameters=parameters)
            wait_for_the_last_stage(blocker)
            children = psutil.Process(one.pid).children(recursive=True)
            for each in (psutil.Process(one.pid), *children):
                each.terminate()
            psutil.wait_procs(children, timeout=120)
            one.wait(timeout=120)
            note_strike(Kind.KILL, "roll-out", "worker", cell="restarted, a target waits for its lock")
            assert not any(each.is_running() for each in children), "nobody works without a worker"
        with worker(pool, "only", tmp_path / "second"):
            again = client.create_flow_run_from_deployment(deployment, parameters=parameters)
            wait_until(lambda: state_of(client, again).is_final(), "the run ends", seconds=300, every_s=0.5)
        ended, left = state_of(client, again), state_of(client, first)
    assert ended.is_completed(), ended.message
    assert not left.is_completed()
    assert all_have_it_once(shops)
