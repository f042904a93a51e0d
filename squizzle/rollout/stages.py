"""Stages files: the stages of a rollout, as the guide writes them.

    production_rollout:
      stages:
        - name: canary
          percentage: 5
          duration: 30m
          rollback_on_error: true

Read by `squizzle.lined_yaml`, so every mistake is told with its line.
"""

from __future__ import annotations

import re
from datetime import time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from yaml import MappingNode, Node, ScalarNode, SequenceNode

from squizzle.durations import parse_duration
from squizzle.lined_yaml import Entry, Mistakes, between, parse_settings, read_settings_text, yes_or_no
from squizzle.rollout.records import WEEK, Stage, Weekday, Window

_WHOLE = 100
_MOST = 1_000_000
_DAY_ENDS = "24:00"
_REFERENCE = "see docs/fleets.md"


def read_stages(file: Path, *, section: str | None = None) -> tuple[Stage, ...]:
    """The stages of a file, in order.

    Args:
        file: YAML; `stages` stands at the top or under a name of its own.
        section: That name, where the file has several.

    Raises:
        InvalidInputError: The file cannot be read, or is wrong; the message has every mistake with its line.
    """
    text = read_settings_text(file, kind="a stages file", reference=_REFERENCE)
    return parse_stages(text, file=str(file), section=section)


def parse_stages(text: str, *, file: str, section: str | None = None) -> tuple[Stage, ...]:
    """The stages of a text, in order.

    Args:
        text: YAML.
        file: What complaints call it.
        section: As in `read_stages`.

    Raises:
        InvalidInputError: It is wrong; the message has every mistake with its line.
    """
    reader = _Reader(Mistakes(file, _REFERENCE))
    stages = reader.stages(parse_settings(text, file=file, reference=_REFERENCE), section)
    reader.mistakes.refuse()
    return stages


class _Reader:
    def __init__(self, mistakes: Mistakes) -> None:
        self.mistakes = mistakes
        self.complain = mistakes.complain

    def stages(self, root: Node | None, section: str | None) -> tuple[Stage, ...]:
        if root is None:
            self.mistakes.found.append(f"{self.mistakes.file} is empty; it needs stages")
            return ()
        listed = self.list_of(root, section)
        if listed is None:
            return ()
        if not isinstance(listed, SequenceNode) or not listed.value:
            self.complain(listed, "stages must be a list of at least one stage")
            return ()
        stages = [self.stage(node, number) for number, node in enumerate(listed.value, start=1)]
        self.check_names(listed.value, stages)
        self.check_percentages(listed.value, stages)
        return tuple(stages)

    def list_of(self, root: Node, section: str | None) -> Node | None:
        """Where the stages stand: at the top, or in the only section, or in the one that is named."""
        top = Entry(self.mistakes, root, "the file")
        if section is None and "stages" in top.values:
            chosen = top
        elif section is None and len(top.values) == 1:
            name, node = next(iter(top.values.items()))
            top.values.clear()
            chosen = Entry(self.mistakes, node, name)
        elif section is not None and section in top.values:
            chosen = Entry(self.mistakes, top.values[section], section)
        elif isinstance(root, MappingNode):
            asked = f"no section {section}" if section else "several sections, and none is named"
            self.complain(root, f"the file has {asked}; it has: {', '.join(top.values) or 'nothing'}")
            return None
        else:
            return None
        chosen.require("stages")
        listed = chosen.values.pop("stages", None)
        chosen.end()
        return listed

    def stage(self, node: Node, number: int) -> Stage:
        entry = Entry(self.mistakes, node, f"stage {number}")
        entry.require("name", "percentage")
        stage_name = entry.take("name", _name, "a text with a letter or a digit, of at most 60 characters", "")
        entry.what = f"stage {stage_name!r}" if stage_name else entry.what
        duration = "a whole number and a unit (30s, 30m, 2h, 1d)"
        stage = Stage(
            name=stage_name,
            percentage=entry.take("percentage", between(1, _WHOLE), "a whole number from 1 to 100", 0),
            duration=entry.take("duration", parse_duration, duration, timedelta()),
            rollback_on_error=entry.take("rollback_on_error", yes_or_no, "true or false", default=False),
            approval_required=entry.take("approval_required", yes_or_no, "true or false", default=False),
            max_failures=entry.take("max_failures", between(0, _MOST), f"a whole number from 0 to {_MOST:,}", 0),
            concurrency=self.sessions(entry, "concurrency"),
            per_server=self.sessions(entry, "per_server"),
            windows=tuple(self.window(one, entry.what) for one in entry.items("windows")),
            wait_for=entry.take("wait_for", _optional_duration, duration, None),
        )
        entry.end()
        return stage

    def sessions(self, entry: Entry, name: str) -> int | None:
        most = 1000
        number: int = entry.take(name, between(1, most), f"a whole number from 1 to {most}", 0)
        return number or None

    def window(self, node: Node, stage: str) -> Window:
        entry = Entry(self.mistakes, node, f"{stage}: a window")
        entry.require("from", "to")
        clock = "a time of the day (22:00)"
        days = tuple(dict.fromkeys(self.day(one, entry.what) for one in entry.items("days")))
        begin = entry.take("from", _clock, clock, time())
        end = entry.take("to", _clock_or_midnight, f"{clock}, or {_DAY_ENDS}", time(0, 1))
        zone = entry.take("time_zone", _zone, "a time zone (Europe/Vienna)", _zone("UTC"))
        entry.end()
        if begin == end and begin != time():
            self.complain(node, f"{entry.what} begins when it ends; a whole day is from 00:00 to {_DAY_ENDS}")
        return Window(days=days or WEEK, begin=begin, end=end, zone=zone)

    def day(self, node: Node, what: str) -> Weekday:
        text = str(node.value).lower()[:3] if isinstance(node, ScalarNode) else ""
        if text not in WEEK or str(node.value).lower() not in _DAYS:
            self.complain(node, f"{what} days must be some of {', '.join(WEEK)}")
            return Weekday.MON
        return Weekday(text)

    def check_names(self, nodes: list[Node], stages: list[Stage]) -> None:
        """Unique also as parts of keys: small letters and digits only."""
        seen: dict[str, str] = {}
        for node, stage in zip(nodes, stages, strict=True):
            key = _NO_KEY.sub("-", stage.name.lower())
            if stage.name and key in seen:
                self.complain(node, f"stage {stage.name!r} has the name of another one, {seen[key]!r}")
            seen[key] = stage.name

    def check_percentages(self, nodes: list[Node], stages: list[Stage]) -> None:
        before = 0
        for node, stage in zip(nodes, stages, strict=True):
            if stage.percentage and stage.percentage <= before:
                told = f"has percentage {stage.percentage} after {before}; they count what was migrated before, too"
                self.complain(node, f"stage {stage.name!r} {told}, so each is higher than the one before")
            before = stage.percentage or before
        last = stages[-1].percentage
        if 0 < last != _WHOLE:
            self.complain(nodes[-1], f"the last stage ends with {last} % of the fleet; it must be 100")


_NO_KEY = re.compile(r"[^a-z0-9]+")
_DAYS = frozenset({*WEEK, "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"})
_LONGEST_NAME = 60


def _name(text: str) -> str:
    if len(text) > _LONGEST_NAME or not text.isprintable() or not _NO_KEY.sub("", text.lower()):
        raise ValueError(text)
    return text


def _optional_duration(text: str) -> timedelta | None:
    return parse_duration(text)


def _clock(text: str) -> time:
    match = re.fullmatch(r"(\d{1,2}):(\d{2})", text, re.ASCII)
    if match is None:
        raise ValueError(text)
    return time(int(match[1]), int(match[2]))


def _clock_or_midnight(text: str) -> time:
    return time() if text == _DAY_ENDS else _clock(text)


def _zone(text: str) -> ZoneInfo:
    try:
        return ZoneInfo(text)
    except (OSError, KeyError) as exc:  # no such zone, or a name that is a folder
        raise ValueError(text) from exc
