"""Who fences, in tests."""

from __future__ import annotations

from datetime import UTC, datetime

from squizzle.recovery.fences.records import Hold


def hold(holder: str = "recovery", reason: str = "a test") -> Hold:
    """A hold of this holder."""
    return Hold(holder=holder, by="ops@host", reason=reason, run="run 7", at=datetime(2026, 3, 1, 14, 2, tzinfo=UTC))
