"""What of failures is a person's, and who keeps recoveries on their own away."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from squizzle.alerts.states import AlertState, Silence
from squizzle.incidents.failure import HANDS_OFF, hands_off, why_never
from squizzle.migrations.history import History
from squizzle.migrations.records import Direction, HistoryRow
from squizzle.severity import Severity

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
FAILED = HistoryRow(
    id=9,
    version="2",
    name="new",
    direction=Direction.APPLY,
    success=False,
    applied_at=NOON,
    applied_by="app",
    error="it failed",
    checksum=None,
    statements_done=1,
    schema_digest=None,
)
DONE = replace(FAILED, id=1, version="1", success=True)


@pytest.mark.parametrize(
    ("before", "row", "why"),
    [
        ([DONE], FAILED, ""),
        ([], replace(FAILED, direction=Direction.ROLLBACK), "taking back 2 failed before"),
        ([replace(DONE, success=False)], FAILED, "1 failed, too"),
        ([replace(DONE, success=None)], FAILED, "the run of 1 has not ended, or its process died"),
        ([replace(DONE, version="2")], FAILED, "2 was applied before, and failed when it was applied again"),
    ],
)
def test_only_one_version_that_never_was_there_is_taken_back_by_itself(
    before: list[HistoryRow], row: HistoryRow, why: str
) -> None:
    assert why_never(History(rows=(*before, row)), row) == why


def test_hands_off_keeps_away_and_silences_nobody_and_the_other_way_round() -> None:
    one = Silence(id="s", rule=HANDS_OFF, target="eu/*", until=NOON, reason="by hand", by="ada")
    before = NOON - timedelta(hours=1)
    assert hands_off([one], "eu/shop", before) == "hands off until 2026-03-01 12:00 UTC, says ada: by hand"
    assert [hands_off([one], "us/shop", before), hands_off([one], "eu/shop", NOON)] == ["", ""]
    assert hands_off([replace(one, rule="*")], "eu/shop", before) == ""
    state = AlertState(target="eu/shop", rule="failed", severity=Severity.HIGH, since=before, last_not_false=before)
    assert not one.covers(state, before)
