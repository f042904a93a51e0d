"""What the run of a rollout is called while it works: with its versions, and the stage that it is at."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from squizzle.rollout.records import PlannedVersion
from tasks.outage import publish
from tasks.rollout_case import RolloutCase, Started


def call_run(case: RolloutCase, started: Started, *, stage: str = "") -> None:
    """Give the run its name anew, so that a list of runs says where a rollout is; one that failed keeps the stage.

    Args:
        case: What was asked for.
        started: The rollout.
        stage: The stage that is at work; empty for none.
    """
    run_id = flow_run.id
    if run_id is None:
        return
    name = rollout_name(case.fleet.name, started.row.versions, stage=stage)
    kind = " (dry run)" if case.dry_run else " (going back)" if case.go_back else ""
    # Nobody waits for a name: the next one comes with the next stage.
    publish(_rename, UUID(run_id), name + kind, patience=timedelta())


def rollout_name(fleet: str, versions: tuple[PlannedVersion, ...], *, stage: str = "") -> str:
    """Such as `rollout 1.4.0 → production canary`; of several versions the first and the last one."""
    ends = dict.fromkeys(one.version for one in versions[:1] + versions[-1:])
    return " ".join(filter(None, ("rollout", " to ".join(ends), "→", fleet, stage)))


def _rename(run_id: UUID, name: str) -> None:
    with get_client(sync_client=True) as client:
        client.set_flow_run_name(run_id, name)
