"""A rollout to targets that are none: what the run itself keeps of many. Started by `fleet-memory`."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.fleet import in_a_flow
from bench.fleet_databases import write_versions
from bench.fleet_flow import STAGES
from bench.usage import peak_bytes
from squizzle.migrations.records import Migration
from squizzle.postgres.access import parse_url
from squizzle.rollout import checks
from squizzle.rollout.orders import ApplyVerdict, RolloutOrder, TargetResult
from squizzle.rollout.records import Fleet, FleetTarget, TargetReport, TargetState
from squizzle.rollout.soak import Observation
from squizzle.rollout.stages import parse_stages
from squizzle.rollout.watching import Sighting
from squizzle.settings.fleets import FleetServer, FleetSettings
from tasks.folders import MigrationsFolder
from tasks.rollout_case import RolloutCase
from tasks.sources import NamedDatabase

_NAMES = ("answers questions", "connections", "long transactions", "prepared transactions", "invalid indexes", "drift")


class Pretended:
    """What the library's functions are replaced by: the same records for each target, as long as real ones."""

    def __init__(self, url: str, count: int) -> None:
        # Each is the one that is there: what is asked of a server once may be asked.
        self.servers = {
            name: FleetServer(name=name, url=url) for name in (f"server_{n}" for n in range(min(50, count)))
        }
        self.targets = tuple(
            FleetTarget(
                name=f"server_{n % 50}/shop_of_customer_{n:06}", server=f"server_{n % 50}", database=f"shop_{n:06}"
            )
            for n in range(count)
        )
        self.applied: set[str] = set()

    def discover(self, settings: FleetSettings, **_: Any) -> Fleet:
        """Who is in it."""
        return Fleet(name=settings.name, environment=None, servers=self.servers, targets=self.targets)

    def survey(
        self, fleet: Fleet, _settings: FleetSettings, migrations: Sequence[Migration], *, environ: Mapping[str, str]
    ) -> tuple[TargetReport, ...]:
        """Who has what."""
        del environ
        pending = tuple(one.version for one in migrations)
        return tuple(
            TargetReport(
                target=one,
                state=TargetState.READY,
                version=pending[-1] if one.name in self.applied else None,
                pending=() if one.name in self.applied else pending,
                place=f"7523456789012345678 1764212345.123456 {n} public",
            )
            for n, one in enumerate(fleet.targets)
        )

    def check(self, _order: RolloutOrder, reports: Sequence[TargetReport], **_: Any) -> tuple[checks.CheckRow, ...]:
        """All is well."""
        findings = [checks.CheckFinding(place=one.target.name, check=name) for one in reports for name in _NAMES]
        return checks.rows_of(findings)

    def apply(self, order: RolloutOrder, targets: Sequence[FleetTarget], **_: Any) -> tuple[TargetResult, ...]:
        """Everything at once."""
        self.applied.update(one.name for one in targets)
        return tuple(
            TargetResult(target=one, verdict=ApplyVerdict.APPLIED, after=order.versions[-1], versions=order.versions)
            for one in targets
        )

    def watch(self, _order: RolloutOrder, targets: Sequence[FleetTarget], **_: Any) -> tuple[Sighting, ...]:
        """All is well."""
        return tuple(
            Sighting(observation=Observation(target=one.name), applied_at=datetime.now(UTC)) for one in targets
        )


def main(url: str, count: int, state: str) -> None:
    """Roll out, and print what it took as JSON.

    Args:
        url: Of the server of the control database.
        count: How many targets.
        state: A folder for Prefect; it takes ten seconds to make its tables in a new one.
    """
    access, _ = parse_url(url)
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        folder = Path(place)
        os.environ["SQUIZZLE_REPORTS"] = str(folder / "reports")
        os.environ["XDG_STATE_HOME"] = state
        write_versions(folder / "migrations", [1])
        case = RolloutCase(
            fleet=FleetSettings(name="pretended"),
            stages=parse_stages(STAGES, file="stages"),
            folder=MigrationsFolder(path=folder / "migrations", layout="native"),
            control=NamedDatabase(meant=_control(), opens=lambda: access),
        )
        found: dict[str, float] = {}
        in_a_flow(lambda: found.update(_roll_out(case, Pretended(url, count))))
        found["peak_mib"] = peak_bytes() / 2**20
        found["report_kib"] = max(one.stat().st_size for one in (folder / "reports").rglob("*.*")) / 1024
        storage = Path(state) / "squizzle" / "prefect" / "storage"
        found["persisted"] = sum(one.is_file() for one in storage.rglob("*"))
        shutil.rmtree(storage, ignore_errors=True)
    print(json.dumps(found))


def _control() -> Any:
    from squizzle.postgres.identity import Target  # noqa: PLC0415

    return Target(database="fleet_00000")


def _roll_out(case: RolloutCase, pretended: Pretended) -> dict[str, float]:
    from prefect.client.orchestration import get_client  # noqa: PLC0415 - it reads its settings when it is imported

    import tasks.rollout  # noqa: PLC0415 - same
    import tasks.rollout_watching  # noqa: PLC0415 - same
    from flows.roll_out import carry_out_rollout  # noqa: PLC0415 - same

    replaced = {
        "discover_fleet": pretended.discover,
        "survey_fleet": pretended.survey,
        "check_targets": pretended.check,
        "apply_to_targets": pretended.apply,
    }
    for name, function in replaced.items():
        setattr(tasks.rollout, name, function)
    setattr(tasks.rollout_watching, "watch_targets", pretended.watch)  # noqa: B010 - a type checker would say no
    began = time.monotonic()
    report = carry_out_rollout(case, datetime.now(UTC))
    seconds = time.monotonic() - began
    with get_client(sync_client=True) as client:
        artifacts = client.read_artifacts()
    biggest = max(len(str(one.data)) for one in artifacts)
    if not report.is_well:
        raise RuntimeError(report.problem)
    return {"seconds": seconds, "artifact_kib": biggest / 1024}


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
