"""What each step of a whole rollout costs a target, and what a run keeps in memory of many."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from bench.fleet import in_a_flow
from bench.fleet_databases import many_databases, url_of, write_versions
from bench.report import Figure, Finding
from bench.turns import Taken
from bench.usage import Meter
from squizzle.postgres.access import ServerAccess
from squizzle.rollout.report import RolloutOutcome, RolloutReport
from tasks.rollout_case import RolloutCase, case_of

STAGES = """
stages:
  - {name: canary, percentage: 5, rollback_on_error: true}
  - {name: partial, percentage: 25, rollback_on_error: true}
  - {name: full, percentage: 100, rollback_on_error: true}
"""
ORCHESTRATION = "orchestration of a target of a big rollout"
_TOLD = ("peak_mib", "seconds", "report_kib", "artifact_kib", "persisted")


def measure(access: ServerAccess, *, targets: int) -> Finding:
    """Roll one version out to databases that have had one before."""
    meter = Meter(access)
    with ExitStack() as stack:
        names = stack.enter_context(many_databases(access, targets))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        case = rollout_case(access, folder)
        reports: list[RolloutReport] = []

        def work() -> None:
            for number in (1, 2):
                write_versions(folder / "migrations", [number])
                meter.start()
                reports.append(_roll_out(case))

        in_a_flow(work)
        processor, report = meter.seconds(), reports[-1]
    return Finding(
        title=f"Each step of a rollout to {len(names):,} databases",
        method="One column, in three stages without anybody to ask, each looked at once; steps of the same name are"
        f" added up. Clients and server together took {1000 * processor / targets:.1f} ms of processor a target.",
        headings=("step", "s", "ms a target"),
        rows=tuple(_rows(report, targets)),
        figures=(
            _figure("a target of a whole rollout", 1000 * report.duration.total_seconds() / targets, "ms"),
            _figure("a target of a whole rollout, processor", 1000 * processor / targets, "ms"),
        ),
        shows_not="what people's answers and a stage's duration take, which is longer than all of this.",
    )


def _figure(name: str, value: float, unit: str) -> Figure:
    return Taken(values=(value,)).figure(name, unit)


def _rows(report: RolloutReport, targets: int) -> Iterator[tuple[str, ...]]:
    taken: dict[str, float] = {}
    for step in report.steps:
        taken[step.title] = taken.get(step.title, 0.0) + step.duration.total_seconds()
    for title, seconds in taken.items():
        yield (title, f"{seconds:.1f}", f"{1000 * seconds / targets:.2f}")
    whole = report.duration.total_seconds()
    yield ("all", f"{whole:.1f}", f"{1000 * whole / targets:.2f}")


def rollout_case(access: ServerAccess, folder: Path) -> RolloutCase:
    """All databases of `many_databases`, and three stages."""
    (folder / "migrations").mkdir()
    (folder / "stages.yaml").write_text(STAGES, encoding="utf-8")
    (folder / "squizzle.toml").write_text(
        f"""
        [fleets.bench]
        environment = "testing"
        deadline = "60s"
        databases = {{ regex = "^fleet_[0-9]+$" }}
        [fleets.bench.servers.bench]
        url = "{url_of(access)}"
        """,
        encoding="utf-8",
    )
    return case_of(
        "bench",
        folder / "stages.yaml",
        section=None,
        configuration=folder / "squizzle.toml",
        store=None,
        without_certificates="",
        approver="",
        environ={},
    )


def _roll_out(case: RolloutCase) -> RolloutReport:
    """The flow's procedure, inside a flow.

    Raises:
        RuntimeError: It did not end well.
    """
    from flows.roll_out import carry_out_rollout  # noqa: PLC0415 - Prefect reads its settings when it is imported
    from tasks.steps import now  # noqa: PLC0415 - same

    report = carry_out_rollout(case, now())
    if report.outcome is not RolloutOutcome.DONE:
        raise RuntimeError(f"{report.outcome}: {report.problem}")
    return report


def measure_memory(access: ServerAccess, *, targets: int) -> Finding:
    """The same procedure in processes of their own, with targets that answer as real ones do, and are none.

    Args:
        access: Where the control database is made.
        targets: Of the biggest rollout; beside it one to a tenth of them, and one to a single target.
    """
    tenth = targets // 10
    with many_databases(access, 1), tempfile.TemporaryDirectory(prefix="bench-") as state:
        told = {count: _told(access, count, state) for count in (1, tenth, targets)}
    return Finding(
        title=f"What a rollout to {tenth:,} and to {targets:,} targets keeps",
        method="Whole processes with the procedure of the flow, its API apart; targets are pretended, the control"
        " database is a real one. One target shows what is there anyway.",
        headings=("targets", "most memory MiB", "s", "report KiB", "biggest artifact KiB", "persisted results"),
        rows=tuple(
            (
                f"{count:,}",
                *(f"{one[key]:.0f}" for key in ("peak_mib", "seconds", "report_kib", "artifact_kib", "persisted")),
            )
            for count, one in told.items()
        ),
        figures=(
            *(_figure(f"most memory, {count:,} targets", one["peak_mib"], "MiB") for count, one in told.items()),
            _figure(ORCHESTRATION, 1000 * (told[targets]["seconds"] - told[1]["seconds"]) / targets, "ms"),
        ),
        shows_not="what the sessions take on their servers: 2 to 10 MB each.",
    )


def _told(access: ServerAccess, count: int, state: str) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.fleet_pretended", url_of(access), str(count), state]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=1800)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found
