"""What travels about sweeps: what was found at every target of a fleet at one moment. No row's content is in here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from squizzle.alerts.records import AlertResult
from squizzle.rollout.records import FleetTarget, UnreachableServer

Metrics = Mapping[str, float | int | bool | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetHealth:
    """What a look at one target found.

    Attributes:
        target: Which.
        is_reached: Whether it answered in time, and is who it should be.
        detail: Why it did not, or was not asked; empty when it was.
        metrics: Numbers by name (docs/health.md); those of its server are in there, too. None where one is not known.
        failed: Versions whose newest run failed.
        results: Every rule, those of Squizzle's own first; of one that was not reached only that.
        took: How long the look took.
        cluster: The system identifier of its cluster; empty where that may not be read.
        identity_id: The id in its `squizzle.identity`; empty when it has none.
    """

    target: FleetTarget
    is_reached: bool
    detail: str = ""
    metrics: Metrics = field(default_factory=dict)
    failed: tuple[str, ...] = ()
    results: tuple[AlertResult, ...] = ()
    took: timedelta = timedelta()
    cluster: str = ""
    identity_id: str = ""

    @property
    def firing(self) -> tuple[AlertResult, ...]:
        """The rules that are true now, the worst first."""
        true = [one for one in self.results if one.is_true]
        return tuple(sorted(true, key=lambda one: -one.rule.severity.rank))

    @property
    def unknown(self) -> tuple[AlertResult, ...]:
        """The rules that could not be found out."""
        return tuple(one for one in self.results if one.is_true is None)

    @property
    def is_ok(self) -> bool:
        """Whether it answered, everything could be found out, and nothing is wrong."""
        return self.is_reached and not self.firing and not self.unknown


@dataclass(frozen=True, kw_only=True, slots=True)
class Sweep:
    """What one sweep found.

    Attributes:
        fleet: The fleet's name.
        at: When it began.
        duration: How long it took.
        targets: What was found at each, the worst first.
        unreachable: Servers that could not be asked which targets they have.
    """

    fleet: str
    at: datetime
    duration: timedelta
    targets: tuple[TargetHealth, ...]
    unreachable: tuple[UnreachableServer, ...] = ()

    @property
    def is_ok(self) -> bool:
        """Whether all is well everywhere."""
        return not self.unreachable and all(one.is_ok for one in self.targets)


def badness(health: TargetHealth) -> tuple[int, int, int, str]:
    """A key that sorts the worst first."""
    worst = max((one.rule.severity.rank for one in health.firing), default=-1)
    return -worst, -len(health.firing), -len(health.unknown), health.target.name
