"""What `make up` starts, as tests ask it: by Prefect's own HTTP."""

from __future__ import annotations

import json
import time
import urllib.request
from dataclasses import dataclass
from typing import Any

from sandbox.stack import Stack

PATIENCE_S = 120.0
ENDED = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})


@dataclass(frozen=True)
class Cockpit:
    stack: Stack
    address: str

    def ask(self, method: str, path: str, body: object = None) -> Any:
        request = urllib.request.Request(  # noqa: S310 - an address of ours
            f"{self.address}/api{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
            content = response.read()
        return json.loads(content) if content else None

    def deployment(self, name: str) -> Any:
        return next(one for one in self.ask("POST", "/deployments/filter", {}) if one["name"] == name)

    def block(self, type_slug: str) -> str:
        found: dict[str, str] = self.ask("GET", f"/block_types/slug/{type_slug}/block_documents/name/sandbox")
        return found["id"]

    def run(self, name: str, parameters: dict[str, object]) -> Any:
        deployment = self.deployment(name)
        run = self.ask("POST", f"/deployments/{deployment['id']}/create_flow_run", {"parameters": parameters})
        return self.wait_for(run["id"], ENDED)

    def wait_for(self, run_id: str, states: frozenset[str]) -> Any:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            run = self.ask("GET", f"/flow_runs/{run_id}")
            if run["state"]["type"] in states:
                return run
            time.sleep(0.2)
        raise AssertionError(f"the run is still {run['state']['name']}")

    def artifacts(self, run_id: str) -> dict[str, Any]:
        """What a run published, by key."""
        query = {"artifacts": {"flow_run_id": {"any_": [run_id]}}}
        return {one["key"]: one for one in self.ask("POST", "/artifacts/filter", query)}
