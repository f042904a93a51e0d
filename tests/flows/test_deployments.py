"""What prefect.yaml deploys: forms that explain themselves, and nothing that would crash a run that waits."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import Flow
from prefect.utilities.callables import parameter_schema

DEPLOYMENTS = yaml.safe_load((Path(__file__).parents[2] / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=[one["name"] for one in DEPLOYMENTS])
def test_a_deployment_explains_itself_and_can_be_run(deployment: dict[str, Any]) -> None:
    module, _, name = deployment["entrypoint"].partition(":")
    flow = getattr(import_module(module), name)

    assert isinstance(flow, Flow)
    assert deployment["description"].strip()
    assert "squizzle" in deployment["tags"]
    assert flow.description
    assert flow.flow_run_name
    assert not flow.retries
    properties = parameter_schema(flow).properties
    assert set(deployment.get("parameters") or {}) <= set(properties)
    assert {name: one for name, one in properties.items() if not (one.get("title") and one.get("description"))} == {}
    # Prefect names a field by its parameter unless told otherwise (flows/forms.py), and shows no Markdown.
    assert [name for name, one in properties.items() if one["title"] == name or "`" in one["description"]] == []
    if "approval_minutes" in properties or "gate(" in inspect.getsource(inspect.getmodule(flow.fn)):  # type: ignore[arg-type]
        assert "concurrency_limit" not in deployment
        assert deployment["parameters"]["dry_run"] is True
        assert properties["dry_run"]["default"] is True
