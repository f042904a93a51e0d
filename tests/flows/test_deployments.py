"""What prefect.yaml deploys: forms that explain themselves, and nothing that would crash a run that waits."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from string import Formatter
from typing import Any

import pytest
import yaml
from prefect import Flow
from prefect.utilities.callables import ParameterSchema, parameter_schema

from handbook.deployments import fields_of
from squizzle import __version__
from tests.chaos.flows.scenes import NO_SCENE, SCENES
from tests.support.reliability_page import PROCEDURES

DEPLOYMENTS = yaml.safe_load((Path(__file__).parents[2] / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=[one["name"] for one in DEPLOYMENTS])
def test_a_deployment_explains_itself_and_can_be_run(deployment: dict[str, Any]) -> None:
    module, _, name = deployment["entrypoint"].partition(":")
    flow = getattr(import_module(module), name)

    assert isinstance(flow, Flow)
    # What it does comes first, and what it never does stands where a tired person looks for it.
    assert deployment["description"].count("**It never** ") == 1
    assert "squizzle" in deployment["tags"]
    assert flow.description
    assert flow.flow_run_name
    assert not flow.retries
    # An error of ours ends it with the next step, and its page shows which Squizzle ran.
    assert flow.fn.__wrapped__.__module__ == module  # type: ignore[attr-defined]
    assert flow.version == __version__
    schema = parameter_schema(flow)
    properties, fields = schema.properties, dict(fields_of(schema))
    assert set(deployment.get("parameters") or {}) <= set(properties)
    assert {name: one for name, one in fields.items() if not (one.get("title") and one.get("description"))} == {}
    assert [name for name, one in fields.items() if not is_filled_in_without_json(one, schema)] == []
    # Whoever fills it in meets what must be filled in first.
    assert list(fields)[: len(schema.required)] == list(schema.required)
    # Prefect names a field by its parameter unless told otherwise (flows/forms.py), and shows no Markdown.
    assert [name for name, one in fields.items() if one["title"] == name or "`" in one["description"]] == []
    if deployment.get("schedules"):
        # One that takes longer than its rhythm meets itself.
        assert deployment["concurrency_limit"]["limit"] == 1
        assert deployment["concurrency_limit"]["collision_strategy"] in {"ENQUEUE", "CANCEL_NEW"}
    if "approval_minutes" in properties or "gate(" in inspect.getsource(inspect.getmodule(flow.fn)):  # type: ignore[arg-type]
        assert "concurrency_limit" not in deployment
        assert deployment["parameters"]["dry_run"] is True
        assert properties["dry_run"]["default"] is True


def is_filled_in_without_json(field: dict[str, Any], schema: ParameterSchema) -> bool:
    """Whether Prefect's form has text, numbers, switches, choices, pickers of blocks and lists of these for it."""
    if "anyOf" in field:
        return all(is_filled_in_without_json(one, schema) for one in field["anyOf"])
    if "$ref" in field:
        meant = schema.definitions[field["$ref"].rpartition("/")[2]]
        # Of a group the fields are looked at by themselves.
        return "block_type_slug" in meant or "enum" in meant or "properties" in meant
    if field.get("type") == "array":
        return is_filled_in_without_json(field.get("items", {}), schema)
    return field.get("type") in {"string", "integer", "number", "boolean", "null"}


def test_what_starts_by_itself_has_the_rhythm_that_its_name_says() -> None:
    rhythms = {
        one["name"]: [schedule.get("cron") or schedule["interval"] for schedule in one["schedules"]]
        for one in DEPLOYMENTS
        if "schedules" in one
    }
    assert rhythms == {
        "drill": ["0 3 1 * *"],
        "backup-nightly": ["0 2 * * *"],
        "backup-hourly": ["15 * * * *"],
        "check-backups": ["0 4 * * 0"],
        "health": [300],
        "note-queries": ["30 1 * * *"],
    }
    assert all(schedule["slug"] for one in DEPLOYMENTS for schedule in one.get("schedules", ()))


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=[one["name"] for one in DEPLOYMENTS])
def test_the_name_of_a_run_is_made_from_fields_of_its_form(deployment: dict[str, Any]) -> None:
    module, _, name = deployment["entrypoint"].partition(":")
    flow = getattr(import_module(module), name)
    made_by = flow.flow_run_name
    # A rollout and a drill say more than a template can.
    if name in {"roll_out", "run_drill"}:
        assert made_by.__doc__
        return
    (template,) = made_by.args
    fields = {field for _text, field, *_rest in Formatter().parse(template) if field}
    assert fields
    assert fields <= set(parameter_schema(flow).properties)


def test_every_deployment_is_killed_in_the_middle_by_make_chaos_or_says_why_not() -> None:
    deployed = {one["name"]: one["entrypoint"] for one in DEPLOYMENTS}
    killed = {name: scene.flow for scene in SCENES for name in scene.deployments}

    assert killed | {name: deployed[name] for name in NO_SCENE} == deployed
    assert killed.keys().isdisjoint(NO_SCENE)
    assert all(NO_SCENE.values())
    # What a page calls them; and one test, one row of the page for each.
    assert [scene.name for scene in SCENES if scene.name not in PROCEDURES] == []
    assert len({scene.name for scene in SCENES}) == len(SCENES)
