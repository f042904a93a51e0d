"""The deployments of prefect.yaml without a work pool: one process offers them all, and starts each run as its own."""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from prefect import Flow
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import ConcurrencyLimitConfig
from prefect.client.schemas.schedules import construct_schedule
from prefect.deployments.runner import RunnerDeployment
from prefect.types.entrypoint import EntrypointType

from squizzle.errors import InvalidInputError

# Beside the flows, in a checkout and in a container's image.
PREFECT_FILE = Path(__file__).resolve().parents[1] / "prefect.yaml"


def served_deployments(file: Path = PREFECT_FILE, only: Collection[str] = ()) -> list[RunnerDeployment]:
    """What the file says, for `prefect.serve`: names, forms, schedules, limits and tags as a worker would get them.

    Args:
        file: prefect.yaml.
        only: Names of deployments; all when empty.

    Raises:
        InvalidInputError: The file is not there or no such file, or a name is not in it.
    """
    try:
        sections: list[dict[str, Any]] = yaml.safe_load(file.read_text(encoding="utf-8"))["deployments"]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as exc:
        raise InvalidInputError(
            f"{file} holds no deployments ({type(exc).__name__})", hint="name the prefect.yaml of Squizzle with --file"
        ) from exc
    known = {one["name"] for one in sections}
    if unknown := sorted(set(only) - known):
        raise InvalidInputError(
            f"{file} has no deployment {', '.join(unknown)}", hint=f"there are: {', '.join(sorted(known))}"
        )
    return [_deployment(one) for one in sections if not only or one["name"] in only]


def _deployment(section: dict[str, Any]) -> RunnerDeployment:
    module, _, name = section["entrypoint"].partition(":")
    flow: Flow[Any, Any] = getattr(import_module(module), name)
    limit = section.get("concurrency_limit")
    return RunnerDeployment.from_flow(
        flow,
        name=section["name"],
        schedules=[_schedule(one) for one in section.get("schedules", ())],
        concurrency_limit=ConcurrencyLimitConfig(**limit) if limit else None,
        parameters=section.get("parameters") or {},
        description=section["description"],
        tags=section["tags"],
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


def _schedule(section: dict[str, Any]) -> DeploymentScheduleCreate:
    given = {name: section[name] for name in ("interval", "cron", "rrule", "timezone") if name in section}
    return DeploymentScheduleCreate(
        schedule=construct_schedule(**given), active=section.get("active", True), slug=section.get("slug")
    )
