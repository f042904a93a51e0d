"""How much room an instance of RDS has, as CloudWatch says. Nobody sees the instance's disks otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

from squizzle.backups.rds.failures import CLOUD_ERRORS, code_of, translated
from squizzle.backups.rds.records import InstanceFacts, RdsSpace
from squizzle.backups.rds.service import PATIENT, RdsApi, RdsService, Waiting, patiently

# FreeStorageSpace has a value a minute; a quarter of an hour bridges the usual lag of CloudWatch.
_LOOK_BACK = timedelta(minutes=15)
_PERIOD_S = 60
# Who may not look does not know; that is no reason to stop, and none to call it enough.
_FORBIDDEN = frozenset({"AccessDenied", "AccessDeniedException"})


class CloudWatchApi(Protocol):
    """What is called of boto3's client for CloudWatch."""

    def get_metric_statistics(self, **arguments: Any) -> Mapping[str, Any]:
        """GetMetricStatistics."""


def read_rds_space(rds: RdsApi, cloudwatch: CloudWatchApi, instance: str, *, waiting: Waiting = PATIENT) -> RdsSpace:
    """Ask how much room an instance has. Nothing is changed.

    Args:
        rds: Of boto3, for RDS (`open_rds`).
        cloudwatch: Of boto3, for CloudWatch.
        instance: The instance's identifier.
        waiting: Deadline and pace.

    Returns:
        The room; `missing` says why it could not be told, such as that the account may not ask CloudWatch.

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
        failed = translated(exc, f"read the free space of {source.identifier}")
        if code_of(exc) not in _FORBIDDEN:
            raise failed from exc
        return _space(source, missing=f"{failed.message}; {failed.hint}")
    newest = max(answer.get("Datapoints", ()), key=lambda point: point["Timestamp"], default=None)
    if newest is None:
        return _space(
            source,
            missing=f"CloudWatch has no FreeStorageSpace of {source.identifier} in the last {_LOOK_BACK}: the instance"
            " is new, stopped, or in another Region; run the same again in some minutes",
        )
    return _space(source, free_bytes=int(newest["Minimum"]), measured_at=newest["Timestamp"])


def _space(
    source: InstanceFacts, *, free_bytes: int | None = None, measured_at: datetime | None = None, missing: str = ""
) -> RdsSpace:
    largest = source.max_allocated_bytes or source.allocated_bytes
    return RdsSpace(
        free_bytes=free_bytes,
        measured_at=measured_at,
        allocated_bytes=source.allocated_bytes,
        growth_bytes=max(largest - source.allocated_bytes, 0),
        missing=missing,
    )
