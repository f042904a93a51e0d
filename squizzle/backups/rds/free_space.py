"""How much room an instance of RDS has, as CloudWatch says. Nobody sees the instance's disks otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from squizzle.backups.rds.failures import CLOUD_ERRORS, translated
from squizzle.backups.rds.service import PATIENT, RdsApi, RdsService, Waiting, patiently

# FreeStorageSpace has a value a minute; a quarter of an hour bridges the usual lag of CloudWatch.
_LOOK_BACK = timedelta(minutes=15)
_PERIOD_S = 60


class CloudWatchApi(Protocol):
    """What is called of boto3's client for CloudWatch."""

    def get_metric_statistics(self, **arguments: Any) -> Mapping[str, Any]:
        """GetMetricStatistics."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RdsSpace:
    """The room of an instance.

    Attributes:
        free_bytes: At the newest measurement, the least of its minute; None when there is none. Never 0 for unknown.
        measured_at: When; None when there is none.
        allocated_bytes: Size of the storage.
        growth_bytes: How far RDS lets it grow by itself (`MaxAllocatedStorage`). It grows in steps hours apart, so this
            is no room for something that fills the disk quickly. 0 when it does not grow.
        missing: Why there is no measurement, and what to do; empty when there is one.
    """

    free_bytes: int | None
    measured_at: datetime | None
    allocated_bytes: int
    growth_bytes: int
    missing: str = ""


def read_rds_space(rds: RdsApi, cloudwatch: CloudWatchApi, instance: str, *, waiting: Waiting = PATIENT) -> RdsSpace:
    """Ask how much room an instance has. Nothing is changed.

    Args:
        rds: Of boto3, for RDS (`open_rds`).
        cloudwatch: Of boto3, for CloudWatch.
        instance: The instance's identifier.
        waiting: Deadline and pace.

    Raises:
        CloudError, CloudUnavailableError: AWS did not say.
    """
    source = RdsService(rds, waiting).instance(instance)
    now = waiting.now()
    arguments = {
        "Namespace": "AWS/RDS",
        "MetricName": "FreeStorageSpace",
        "Dimensions": [{"Name": "DBInstanceIdentifier", "Value": source.identifier}],
        "StartTime": now - _LOOK_BACK,
        "EndTime": now,
        "Period": _PERIOD_S,
        "Statistics": ["Minimum"],
    }
    until = waiting.monotonic() + waiting.outage.total_seconds()
    try:
        answer = patiently(cloudwatch.get_metric_statistics, arguments, waiting=waiting, until=until)
    except CLOUD_ERRORS as exc:
        raise translated(exc, f"read the free space of {source.identifier}") from exc
    newest = max(answer.get("Datapoints", ()), key=lambda point: point["Timestamp"], default=None)
    largest = source.max_allocated_bytes or source.allocated_bytes
    return RdsSpace(
        free_bytes=int(newest["Minimum"]) if newest else None,
        measured_at=newest["Timestamp"] if newest else None,
        allocated_bytes=source.allocated_bytes,
        growth_bytes=max(largest - source.allocated_bytes, 0),
        missing=""
        if newest
        else f"CloudWatch has no FreeStorageSpace of {source.identifier} in the last {_LOOK_BACK}: the instance is new,"
        " stopped, or in another Region; run the same again in some minutes",
    )
