"""What keeps Prefect from starting a flow of ours is found, with the command that mends it."""

from __future__ import annotations

from uuid import uuid4

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import (
    DeploymentScheduleCreate,
    DeploymentScheduleUpdate,
    DeploymentUpdate,
    WorkPoolCreate,
)
from prefect.client.schemas.schedules import CronSchedule
from prefect.settings import PREFECT_API_URL, temporary_settings

from blocks import SnsNotifications
from squizzle.doctor.findings import Finding, State, looked
from tasks.doctor import look_at_prefect


def prefect() -> dict[str, Finding]:
    return {one.name: one for one in looked("Prefect", look_at_prefect)}


@pytest.fixture
def pool() -> str:
    return f"pool-{uuid4().hex[:8]}"


def test_a_missing_pool_worker_and_type_of_block_are_told_until_they_are_there(pool: str) -> None:
    SnsNotifications.register_type_and_schema()
    with get_client(sync_client=True) as client:
        flow = client.create_flow_from_name(f"flow of {pool}")
        deployment = client.create_deployment(
            flow,
            pool,
            tags=["squizzle"],
            entrypoint="flows.sweep_health:sweep_health",
            schedules=[DeploymentScheduleCreate(schedule=CronSchedule(cron="*/5 * * * *"), active=False)],
        )
        try:
            # Without a pool nothing is said of one; the schedule sleeps.
            asleep = prefect()
            assert asleep["Prefect: server"].state is State.OK
            assert "sweeps" in asleep["Prefect: schedules"].detail
            assert f"Prefect: work pool {pool}" not in asleep

            client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
            client.update_deployment(
                deployment,
                DeploymentUpdate(
                    work_pool_name=pool,
                    schedules=[DeploymentScheduleUpdate(schedule=CronSchedule(cron="*/5 * * * *"), active=True)],
                ),
            )
            waiting = prefect()
            assert waiting[f"Prefect: work pool {pool}"].state is State.PROBLEM
            assert waiting[f"Prefect: work pool {pool}"].hint == f"prefect worker start --pool {pool}"
            assert "sweeps" not in waiting["Prefect: schedules"].detail

            client.send_worker_heartbeat(pool, "a worker")
            assert prefect()[f"Prefect: work pool {pool}"].state is State.OK

            client.delete_block_type(client.read_block_type_by_slug(SnsNotifications.get_block_type_slug()).id)
            lacks = prefect()["Prefect: types of blocks"]
            assert lacks.state is State.PROBLEM
            assert (SnsNotifications.get_block_type_name() or "") in lacks.detail
        finally:
            client.delete_deployment(deployment)
            client.delete_work_pool(pool)
            SnsNotifications.register_type_and_schema()


def test_a_server_that_is_down_is_a_problem_and_none_at_all_is_not() -> None:
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api"}):
        down = prefect()["Prefect"]
    assert down.state is State.PROBLEM
    assert "PREFECT_API_URL" in down.hint
    with temporary_settings({PREFECT_API_URL: None}):
        assert prefect()["Prefect"].state is State.NOT_LOOKED
