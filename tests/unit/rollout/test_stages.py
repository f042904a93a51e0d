"""Stages files: the guide's word for word, and every mistake with its line."""

from __future__ import annotations

from datetime import time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squizzle.errors import InvalidInputError
from squizzle.lined_yaml import LARGEST_FILE_BYTES
from squizzle.rollout.records import Stage, Weekday, Window
from squizzle.rollout.stages import parse_stages, read_stages

GUIDE = """\
# Canary deployment
production_rollout:
  stages:
    - name: canary
      percentage: 5
      duration: 30m
      rollback_on_error: true
      
    - name: partial
      percentage: 25
      duration: 2h
      rollback_on_error: true
      
    - name: full
      percentage: 100
      approval_required: true
"""  # noqa: W293 - as it stands there


def mistakes(text: str, *, section: str | None = None) -> list[str]:
    with pytest.raises(InvalidInputError) as caught:
        parse_stages(text, file="f", section=section)
    return caught.value.message.split("\n")


def test_the_guides_file_is_read_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "stages.yaml"
    file.write_text(GUIDE, encoding="utf-8")

    assert read_stages(file) == (
        Stage(name="canary", percentage=5, duration=timedelta(minutes=30), rollback_on_error=True),
        Stage(name="partial", percentage=25, duration=timedelta(hours=2), rollback_on_error=True),
        Stage(name="full", percentage=100, approval_required=True),
    )


def test_what_goes_beyond_the_guide_is_read() -> None:
    (stage,) = parse_stages(
        """
stages:
  - name: all
    percentage: 100
    rollback_on_error: yes
    max_failures: 3
    concurrency: 8
    per_server: 2
    wait_for: 12h
    windows:
      - {days: [mon, Friday], from: 22:00, to: 4:30, time_zone: Europe/Vienna}
      - {from: 00:00, to: 24:00}
""",
        file="f",
    )

    assert stage == Stage(
        name="all",
        percentage=100,
        rollback_on_error=True,
        max_failures=3,
        concurrency=8,
        per_server=2,
        wait_for=timedelta(hours=12),
        windows=(
            Window(days=(Weekday.MON, Weekday.FRI), begin=time(22), end=time(4, 30), zone=ZoneInfo("Europe/Vienna")),
            Window(),
        ),
    )


def test_every_mistake_is_named_with_its_line() -> None:
    text = """\
stages:
  - name: canary
    percentage: 25
    duration: 1 hour
    speed: fast
  - name: Canary
    percentage: 25
    percentage: 30
    approval_required: maybe
  - percentage: 0
  - name: late
    percentage: 90
    max_failures: -1
    windows:
      - {days: [noday], from: 25:00, to: 03:00, time_zone: Europe/Atlantis}
      - {from: 10:00, to: 10:00}
  - nonsense
"""
    assert mistakes(text) == [
        "f:4: stage 'canary' duration must be a whole number and a unit (30s, 30m, 2h, 1d)",
        "f:5: stage 'canary' has an unknown setting: speed",
        "f:8: stage 2 says percentage twice",
        "f:9: stage 'Canary' approval_required must be true or false",
        "f:10: stage 3 has no name",
        "f:10: stage 3 percentage must be a whole number from 1 to 100",
        "f:13: stage 'late' max_failures must be a whole number from 0 to 1,000,000",
        "f:15: stage 'late': a window days must be some of mon, tue, wed, thu, fri, sat, sun",
        "f:15: stage 'late': a window from must be a time of the day (22:00)",
        "f:15: stage 'late': a window time_zone must be a time zone (Europe/Vienna)",
        "f:16: stage 'late': a window begins when it ends; a whole day is from 00:00 to 24:00",
        "f:17: stage 5 must be a section of names and values",
        "f:6: stage 'Canary' has the name of another one, 'canary'",
        "f:6: stage 'Canary' has percentage 25 after 25; they count what was migrated before, too, so each is higher than the one before",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "f is empty; it needs stages"),
        ("stages: []", "f:1: stages must be a list of at least one stage"),
        ("a: {stages: [{name: x, percentage: 99}]}", "f:1: the last stage ends with 99 % of the fleet; it must be 100"),
        ("a: {}\nb: {}", "f:1: the file has several sections, and none is named; it has: a, b"),
        ("stages: [{name: x, percentage: 5.5}]", "f:1: stage 'x' percentage must be a whole number from 1 to 100"),
        ("a: {<<: {x: 1}}", "f:1: a merges another section (<<); write its settings out"),
        ("- a", "f:1: the file must be a section of names and values"),
    ],
)
def test_a_file_that_is_wrong_as_a_whole_is_refused(text: str, said: str) -> None:
    assert said in mistakes(text)


def test_the_section_that_is_named_counts() -> None:
    text = "a: {stages: [{name: x, percentage: 100}]}\nb: {stages: [{name: y, percentage: 100}]}"

    assert [one.name for one in parse_stages(text, file="f", section="b")] == ["y"]
    assert mistakes(text, section="c") == ["f:1: the file has no section c; it has: a, b"]


def test_what_is_no_yaml_or_too_much_of_it_is_told(tmp_path: Path) -> None:
    assert "line 2: " in mistakes("stages: [\n}")[0]
    assert "nested too deeply" in mistakes("[" * 600)[0]
    assert "nested too deeply" in mistakes("- " * 600)[0]
    assert "more than 1,000 brackets" in mistakes("[" * 99_000)[0]
    for content, said in ((b"\xff", "not UTF-8"), (b"#" * (LARGEST_FILE_BYTES + 1), "larger than")):
        (tmp_path / "f").write_bytes(content)
        with pytest.raises(InvalidInputError, match=said):
            read_stages(tmp_path / "f")
    with pytest.raises(InvalidInputError, match="cannot be read"):
        read_stages(tmp_path / "none")


@given(st.text(alphabet="stagename: {}[]-&*<>!|\n\"'%5100", max_size=80))
def test_no_text_gives_anything_but_stages_or_a_complaint(text: str) -> None:
    try:
        stages = parse_stages(text, file="f")
    except InvalidInputError:
        return
    assert stages[-1].percentage == 100
