"""Every deployment of prefect.yaml: what it does, when it starts by itself, what its form asks for."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from prefect import Flow
from prefect.utilities.callables import ParameterSchema, parameter_schema

_FILE = Path(__file__).parents[1] / "prefect.yaml"
_INTRODUCTION = """\
# Deployments

Every flow that `prefect.yaml` deploys, and what its form asks for (rendered by `make docs`). On a server of your own:

```sh
prefect work-pool create squizzle --type process
prefect block register --module blocks
prefect --no-prompt deploy --all
prefect worker start --pool squizzle
```

Schedules are paused as they come: choose [blocks](blocks.md) for database and store first. What changes something in a
database begins as a dry run.
"""


def render_deployments() -> str:
    """The whole page."""
    deployments: list[dict[str, Any]] = yaml.safe_load(_FILE.read_text(encoding="utf-8"))["deployments"]
    return "\n".join([_INTRODUCTION, *(line for one in deployments for line in _described(one))])


def forms() -> dict[str, frozenset[str]]:
    """The parameters of each deployment, by its full name as Prefect's command takes it."""
    deployments: list[dict[str, Any]] = yaml.safe_load(_FILE.read_text(encoding="utf-8"))["deployments"]
    flows = {one["name"]: _flow(one) for one in deployments}
    return {f"{flow.name}/{name}": frozenset(inspect.signature(flow.fn).parameters) for name, flow in flows.items()}


def _flow(deployment: dict[str, Any]) -> Flow[Any, Any]:
    module, _, name = deployment["entrypoint"].partition(":")
    flow: Flow[Any, Any] = getattr(import_module(module), name)
    return flow


def _described(deployment: dict[str, Any]) -> Iterator[str]:
    yield f"## {deployment['name']}\n"
    yield f"{deployment['description'].strip()}\n"
    for schedule in deployment.get("schedules", ()):
        state = "" if schedule.get("active", True) else ", paused as it comes"
        when = f"`{schedule['cron']}`" if "cron" in schedule else f"every {schedule['interval']} s"
        yield f"Starts by itself: {when} ({schedule.get('timezone', 'UTC')}{state}).\n"
    if limit := deployment.get("concurrency_limit"):
        yield f"At most {limit['limit']} at a time; another one: `{limit['collision_strategy']}`.\n"
    schema = parameter_schema(_flow(deployment))
    given: dict[str, Any] = deployment.get("parameters") or {}
    yield "| parameter | name | | default |"
    yield "|---|---|---|---|"
    for parameter, field in fields_of(schema):
        words = field["description"].replace("|", "\\|")
        default = "required" if parameter in schema.required else _words(field.get("default"))
        yield f"| {field['title']} | `{parameter}` | {words} | {_words(given.get(parameter)) or default} |"
    yield ""


def fields_of(schema: ParameterSchema) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and schema of each field as the form shows them; behind a group its own fields, as `group.field`."""
    for name, field in sorted(schema.properties.items(), key=lambda one: one[1]["position"]):
        group = schema.definitions.get(field.get("$ref", "").rpartition("/")[2], {})
        if "properties" not in group or "block_type_slug" in group:
            yield name, field
            continue
        yield name, {**field, "title": f"**{field['title']}**", "default": None}
        for inner, one in group["properties"].items():
            yield f"{name}.{inner}", one


def _words(value: object) -> str:
    return "" if value in (None, "", [], {}) else f"`{str(value).lower() if isinstance(value, bool) else value}`"
