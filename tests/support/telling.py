"""A notification as tests send it; planted words must not come out anywhere but where they belong."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from squizzle.notify.records import Link, Moment, Notification
from squizzle.severity import Severity

AT = datetime(2026, 3, 1, 3, 7, 9, tzinfo=UTC)


def told(**changes: Any) -> Notification:
    one = Notification(
        key="incident/shop/2026-03-01T03:07:09Z",
        moment=Moment.BEGINS,
        severity=Severity.CRITICAL,
        title="migration 0042 failed on shop",
        at=AT,
        source="fleet shops",
        text="The rollback **failed**, too.",
        facts=(("target", "shop_07"), ("version", "0042")),
        links=(Link(name="run", url="https://prefect/runs/1"), Link(name="runbook", url="https://wiki/runbook")),
    )
    return replace(one, **changes)
