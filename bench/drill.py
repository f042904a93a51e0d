"""Every disaster played and recovered from by `squizzle drill`: what each costs, and whether it passed."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from typing import Any

from bench import peers
from bench.report import Bar, Figure, Finding, Picture
from bench.turns import Taken
from squizzle.postgres.access import ServerAccess

ALL, ONE = "all", "data_loss"


def measure(_access: ServerAccess, *, scale: float, every: int) -> Finding:
    """Play them once, in a process of its own, with a home of its own.

    Args:
        scale: Of the example's data; 1 is about 200,000 rows.
        every: 0 plays a loss of rows alone, for a quick look.
    """
    scenario = ALL if every else ONE
    squizzle = peers.find_squizzle()
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        environment = {**os.environ, "XDG_STATE_HOME": home, "PREFECT_HOME": f"{home}/prefect"}
        command = [*squizzle.command, "drill", "--scenario", scenario, "--scale", f"{scale:g}", "--json"]
        begun = time.perf_counter()
        done = subprocess.run(command, env=environment, cwd=home, check=False, capture_output=True, text=True)
        seconds = time.perf_counter() - begun
    document: Mapping[str, Any] = json.loads(done.stdout or "{}")
    scenarios = document.get("scenarios", ())
    if document.get("verdict") != "pass":
        said = [f"{one['name']}: {one['verdict']}" for one in scenarios if one["verdict"] != "pass"]
        raise RuntimeError(f"{'; '.join(said) or done.stderr[-500:]}")
    return Finding(
        title=f"Drills of {len(scenarios)} disasters" if every else "A drill of one disaster",
        method=f"`squizzle drill --scenario {scenario} --scale {scale:g}`, once, a whole process: servers made, data"
        f" generated, disaster, detection, recovery, every row compared, all removed. All together {seconds:.1f} s.",
        headings=("disaster", "verdict", "recovered by", "recovery s", "data at risk s"),
        rows=tuple(
            (one["name"], one["verdict"], one["recovered_by"] or "", _seconds(one["rto_ms"]), _seconds(one["rpo_ms"]))
            for one in scenarios
        ),
        figures=(
            Taken(values=(seconds,)).figure("all drills", "s"),
            *(_recovery(one) for one in scenarios if one["rto_ms"] is not None),
        ),
        picture=Picture(
            title="From noticing a disaster to clients being let in",
            unit="s",
            bars=tuple(_bar(one) for one in scenarios if one["rto_ms"] is not None),
        ),
        shows_not="your data, and people who have to be found first.",
    )


def _seconds(milliseconds: float | None) -> str:
    return "" if milliseconds is None else f"{milliseconds / 1000:.2f}"


def _recovery(scenario: Mapping[str, Any]) -> Figure:
    return Taken(values=(scenario["rto_ms"] / 1000,)).figure(f"recovery, {scenario['name']}", "s")


def _bar(scenario: Mapping[str, Any]) -> Bar:
    return Taken(values=(scenario["rto_ms"] / 1000,)).bar(scenario["name"], is_ours=True)
