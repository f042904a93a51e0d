"""Whether the Prefect that is named can start our flows: its server, our deployments, a worker, the types of blocks."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import prefect
from prefect.blocks.core import Block
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags, FlowRunFilter
from prefect.client.schemas.objects import WorkPoolStatus
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL

import blocks
from squizzle.doctor.findings import Finding, State
from tasks.prefect_approvals import open_prefect, translated

# What every deployment of prefect.yaml carries.
_TAG = "squizzle"
_DEPLOY = "prefect --no-prompt deploy --all"
# What nobody starts by hand: without its schedule it never happens.
_SCHEDULED = {"flows.sweep_health": "sweeps", "flows.back_up": "backups", "flows.run_drill": "drills"}
_LATE = {"state": {"name": {"any_": ["Late"]}}}


def look_at_prefect() -> Iterator[Finding]:
    """What Prefect's server says; nothing there is changed.

    Raises:
        CloudError, CloudUnavailableError: It does not answer, or refuses.
    """
    if not PREFECT_API_URL.value():
        yield Finding(
            name="Prefect",
            state=State.NOT_LOOKED,
            detail="no server is named; the command works without one",
            hint="`make up`, or PREFECT_API_URL=http://HOST:4200/api",
        )
        return
    with open_prefect() as client, translated():
        yield _server(client)
        yield _block_types(client)
        deployments = client.read_deployments(
            deployment_filter=DeploymentFilter(tags=DeploymentFilterTags(all_=[_TAG]))
        )
        yield _deployments(deployments)
        if deployments:
            yield _schedules(deployments)
            for pool in sorted({one.work_pool_name for one in deployments if one.work_pool_name}):
                yield _worker(client, pool)
        yield _late(client)


def _server(client: SyncPrefectClient) -> Finding:
    theirs = client.api_version()
    apart = theirs.split(".")[:2] != prefect.__version__.split(".")[:2]
    return Finding(
        name="Prefect: server",
        state=State.WARNING if apart else State.OK,
        detail=f"{theirs} at {PREFECT_API_URL.value()}" + (f", this is {prefect.__version__}" if apart else ""),
        hint="the server should not be older than its clients" if apart else "",
    )


def _block_types(client: SyncPrefectClient) -> Finding:
    missing = []
    own = [one for _, one in inspect.getmembers(blocks, inspect.isclass) if issubclass(one, Block)]
    for block in own:
        try:
            client.read_block_type_by_slug(block.get_block_type_slug())
        except ObjectNotFound:
            missing.append(block.get_block_type_name() or block.__name__)
    return Finding(
        name="Prefect: types of blocks",
        state=State.PROBLEM if missing else State.OK,
        detail=f"missing: {', '.join(missing)}" if missing else f"all {len(own)} are there",
        hint="prefect block register --module blocks" if missing else "",
    )


def _deployments(found: list[DeploymentResponse]) -> Finding:
    return Finding(
        name="Prefect: deployments",
        state=State.OK if found else State.PROBLEM,
        detail=f"{len(found)} of Squizzle's" if found else "none of Squizzle's: nothing can be started from the UI",
        hint="" if found else f"`{_DEPLOY}` in the folder that has prefect.yaml",
    )


def _schedules(found: list[DeploymentResponse]) -> Finding:
    active = {
        (one.entrypoint or "").partition(":")[0]
        for one in found
        if not one.paused and any(schedule.active for schedule in one.schedules)
    }
    missing = [what for flow, what in _SCHEDULED.items() if flow not in active]
    return Finding(
        name="Prefect: schedules",
        state=State.WARNING if missing else State.OK,
        detail=f"nobody starts {', '.join(missing)}" if missing else "sweeps, backups and drills start by themselves",
        hint="set `active: true` in prefect.yaml and deploy, or switch the schedule on in the UI" if missing else "",
    )


def _worker(client: SyncPrefectClient, pool: str) -> Finding:
    try:
        found = client.read_work_pool(pool)
    except ObjectNotFound:
        return Finding(
            name=f"Prefect: work pool {pool}",
            state=State.PROBLEM,
            detail="is not there: runs stay scheduled for ever",
            hint=f"prefect work-pool create {pool} --type process",
        )
    ready = found.status is WorkPoolStatus.READY
    return Finding(
        name=f"Prefect: work pool {pool}",
        state=State.OK if ready else State.PROBLEM,
        detail="a worker is there" if ready else "no worker is there: runs stay scheduled until one comes",
        hint="" if ready else f"prefect worker start --pool {pool}",
    )


def _late(client: SyncPrefectClient) -> Finding:
    late = client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(_LATE), limit=20)
    names = ", ".join(sorted({one.name for one in late})[:3])
    return Finding(
        name="Prefect: runs",
        state=State.WARNING if late else State.OK,
        detail=f"{len(late)}{' or more' if len(late) == 20 else ''} are late: {names}" if late else "none is late",  # noqa: PLR2004
        hint="is a worker there, and has it room (`--limit`)?" if late else "",
    )
