"""Every deployment can be offered by one process, without a work pool, as prefect.yaml describes it."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.deployments import run_deployment
from prefect.settings import PREFECT_API_URL

from squizzle.errors import InvalidInputError
from tasks.serving import PREFECT_FILE, served_deployments
from tests.support.processes import wait_until
from tests.support.ready_command import COMMAND


def test_what_is_served_is_what_a_worker_would_get() -> None:
    written = {one["name"]: one for one in yaml.safe_load(PREFECT_FILE.read_text(encoding="utf-8"))["deployments"]}
    served = {one.name: one for one in served_deployments()}
    assert list(served) == list(written)
    for name, one in served.items():
        assert one.tags == written[name]["tags"]
        assert one.parameters == (written[name].get("parameters") or {})
        assert [bool(schedule.active) for schedule in one.schedules or ()] == [
            schedule.get("active", True) for schedule in written[name].get("schedules", ())
        ]
        limit = written[name].get("concurrency_limit", {})
        assert one.concurrency_limit == limit.get("limit")
        assert one.work_pool_name is None
    assert [one.name for one in served_deployments(only=["health"])] == ["health"]


def test_a_name_that_is_not_there_and_another_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="no deployment helth"):
        served_deployments(only=["helth"])
    (tmp_path / "prefect.yaml").write_text("name: somebody else's")
    for file in ("prefect.yaml", "missing.yaml"):
        with pytest.raises(InvalidInputError, match="holds no deployments"):
            served_deployments(tmp_path / file)


@pytest.mark.exhaustive
def test_a_run_is_started_without_a_worker_and_ctrl_c_ends_it() -> None:
    command = [COMMAND, "serve", "--only", "try-channels"]
    environment = {**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value())}
    with (
        get_client(sync_client=True) as client,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment) as process,
    ):
        try:
            wait_until(lambda: _is_there(client), "the deployment is offered", every_s=0.5)
            run = run_deployment("try-channels/try-channels", timeout=0, _sync=True)
            wait_until(lambda: _has_ended(client, run.id), "the run ends", every_s=0.5)
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait() in {0, 130}


def _is_there(client: SyncPrefectClient) -> bool:
    return any(one.name == "try-channels" for one in client.read_deployments())


def _has_ended(client: SyncPrefectClient, run_id: object) -> bool:
    state = client.read_flow_run(run_id).state  # type: ignore[arg-type]
    return state is not None and state.is_final()
