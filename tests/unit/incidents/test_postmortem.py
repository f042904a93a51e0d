"""What a post-mortem says, and what it leaves to people."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from squizzle.incidents.postmortem import Moment, put_together
from squizzle.incidents.records import EventKind, Incident, IncidentEvent
from squizzle.migrations.records import Direction, HistoryRow
from squizzle.postgres.decisions import DecisionRow
from squizzle.reports.postmortem import postmortem_markdown

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
OPEN = Incident(id="i1", fleet="shops", target="one/shop", opened_at=NOON, cause="a migration failed")


APPROVED = DecisionRow(
    id=1,
    gate="recover",
    plan_digest="",
    answer="approve",
    decided_by="ada",
    comment="",
    decided_at=NOON + MINUTE,
    run="",
)


def row(minute: int, version: str, *, success: bool | None, error: str = "", back: bool = False) -> HistoryRow:
    return HistoryRow(
        id=minute,
        version=version,
        name="x",
        direction=Direction.ROLLBACK if back else Direction.APPLY,
        success=success,
        applied_at=NOON + minute * MINUTE,
        applied_by="ada",
        error=error or None,
        checksum=None,
        statements_done=0,
        schema_digest=None,
    )


def test_everything_stands_in_the_order_in_which_it_happened_and_no_row_is_quoted() -> None:
    duplicate = 'duplicate key value violates "users_pkey"\nDETAIL: Key (email)=(planted@example.org) already exists.'
    rows = [
        row(-90, "0001", success=True),
        row(-5, "0002", success=True),
        row(-1, "0003", success=False, error=duplicate),
        row(2, "0003", success=False, error="lock timeout", back=True),
    ]
    events = [IncidentEvent(at=NOON, kind=EventKind.OPENED, text="a migration failed", by="sweep")]
    found = put_together(
        OPEN,
        events,
        rows,
        [APPROVED],
        [Moment(at=NOON - 6 * MINUTE, text="run rollout, Failed", source="Prefect")],
        missing=("the log",),
        now=NOON + 30 * MINUTE,
    )
    text = postmortem_markdown(found)
    assert [one.source for one in found.timeline] == ["Prefect", "history", "history", "sweep", "decision", "history"]
    assert found.causes[0] == 'migration 0003 failed: duplicate key value violates "users_pkey"'
    assert found.causes[1] == "the rollback of 0003 failed: lock timeout"
    assert found.causes[2] == "0002 (x) was applied 5 min before it was noticed"
    assert "planted" not in text
    assert "- 12:01:00 ada approved recover (decision)" in text
    assert "0001" not in text, "it was an hour and a half before"
    assert "**Duration**: 30 min" in text
    assert "**still open**" in text
    assert "- the log" in text
