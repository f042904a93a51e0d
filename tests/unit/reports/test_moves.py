"""What moved, as people read it: with units, and a picture that any page can show."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from squizzle.frames.moves import Move
from squizzle.reports.moves import metric_words, moves_markdown, moves_picture, moves_summary

BEGIN = datetime(2026, 11, 26, 9, tzinfo=UTC)
MOVE = Move(
    metric="size_bytes",
    target="eu/shop",
    now=5e9,
    usual=1e9,
    score=12.0,
    targets=3,
    points=tuple((BEGIN + number * timedelta(minutes=5), 1e9 + number) for number in range(1000)),
)


@pytest.mark.parametrize(
    ("metric", "value", "shown"),
    [
        ("size_bytes", 5e9, "5.0 GB"),
        ("replication_lag_s", 90.0, "1 min 30 s"),
        ("up_s", -1.0, "-1"),
        ("cache_hit_pct", 99.25, "99.2 %"),
        ("commits", 1234567.0, "1,234,567"),
        ("load", 0.125, "0.12"),
    ],
)
def test_a_value_has_the_unit_that_its_name_says(metric: str, value: float, shown: str) -> None:
    assert metric_words(metric, value) == shown


def test_what_moved_is_told_with_where_and_from_what_to_what() -> None:
    text = moves_markdown(
        "shops", [MOVE, replace(MOVE, metric="commits")], since=BEGIN, sweeps=72, problems=["x is no frame"]
    )

    assert text.splitlines()[0] == "# shops: size_bytes moved at eu/shop, 1.0 GB → 5.0 GB, and 1 more"
    assert "| size_bytes | eu/shop and 2 more | 1.0 GB → 5.0 GB |" in text
    assert "- **x is no frame**" in text
    assert moves_summary("shops", []) == "shops: nothing moved"


def test_the_picture_has_six_panels_at_most_and_is_none_where_nothing_moved() -> None:
    def size(moves: int) -> tuple[int, ...]:
        picture = moves_picture([replace(MOVE, metric=f"metric {number}") for number in range(moves)])
        assert picture[:8] == b"\x89PNG\r\n\x1a\n"
        return int.from_bytes(picture[16:20]), int.from_bytes(picture[20:24])

    assert moves_picture([]) == b""
    (width, height), seven = size(1), size(7)
    assert seven == (2 * width, 3 * height)
