"""Two workers on one pool: when the machine of one dies with a rollout, the other one goes on with it."""

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
from tests.conftest import ROOT
from tests.flows.test_roll_out import MANY, NOBODY_ASKED, Shops, eight, end_sessions, shops
from tests.support.processes import wait_until
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


def deployed(client: SyncPrefectClient, pool: str) -> Any:
    client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
    return client.create_deployment(
        client.create_flow(roll_out),
        name=pool,
        work_pool_name=pool,
        entrypoint="flows.roll_out:roll_out",
        pull_steps=[{_SET_FOLDER: {"directory": str(ROOT)}}],
    )


def state_of(client: SyncPrefectClient, run: FlowRun) -> Any:
    return client.read_flow_run(run.id).state


def test_a_rollout_whose_worker_died_goes_on_on_the_other_one(shops: Shops, tmp_path: Path) -> None:
    shops.migration("0001_more", "INSERT INTO goods VALUES (4)", "DELETE FROM goods WHERE id = 4")
    (shops.folder / "stages.yaml").write_text(NOBODY_ASKED, encoding="utf-8")
    parameters = {
        "fleet": "shops",
        "stages": str(shops.folder / "stages.yaml"),
        "configuration": str(shops.folder / "squizzle.toml"),
        "dry_run": False,
        "watch_every_s": 1,
    }
    pool = f"pool-{secrets.token_hex(3)}"
    with ExitStack() as stack:
        client = stack.enter_context(get_client(sync_client=True))
        deployment = deployed(client, pool)
        workers = [stack.enter_context(worker(pool, name, tmp_path / name)) for name in ("left", "right")]
        with shops.session(5) as blocker, blocker.transaction():
            blocker.execute("LOCK TABLE goods")
            first = client.create_flow_run_from_deployment(deployment, parameters=parameters)

            def waits() -> bool:
                query = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'goods'::regclass"
                return blocker.execute(query).fetchone() != (0,)

            wait_until(waits, "the sixth target waits for its lock in the last stage", seconds=300)
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
    assert shops.ask("SELECT count(*) FROM goods") == [4] * MANY
    assert len(set(shops.ask("SELECT max(rollout_id) FROM squizzle_history"))) == 1
