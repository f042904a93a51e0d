"""Stages files: the stages of a rollout, as the guide writes them.

    production_rollout:
      stages:
        - name: canary
          percentage: 5
          duration: 30m
          rollback_on_error: true

Read as text with lines, not as Python values: YAML 1.1 takes `22:00` for the number 1320, and of two equal keys keeps
the second without a word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import time, timedelta
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from yaml import MappingNode, Node, SafeLoader, ScalarNode, SequenceNode, YAMLError, compose

from squizzle.durations import parse_duration
from squizzle.errors import InvalidInputError
from squizzle.rollout.records import WEEK, Stage, Weekday, Window

LARGEST_FILE_BYTES = 100_000
# The parser's time grows with the square of lists within lists.
_MOST_BRACKETS = 1_000
_WHOLE = 100
_MOST = 1_000_000
_DAY_ENDS = "24:00"
_REFERENCE = "see docs/fleets.md"
Value = TypeVar("Value")


def read_stages(file: Path, *, section: str | None = None) -> tuple[Stage, ...]:
    """The stages of a file, in order.

    Args:
        file: YAML; `stages` stands at the top or under a name of its own.
        section: That name, where the file has several.

    Raises:
        InvalidInputError: The file cannot be read, or is wrong; the message has every mistake with its line.
    """
    try:
        with file.open("rb") as stream:
            content = stream.read(LARGEST_FILE_BYTES + 1)
        text = content.decode("utf-8")
    except OSError as exc:
        raise InvalidInputError(f"{file} cannot be read: {exc.strerror}", hint="name a stages file") from exc
    except UnicodeDecodeError as exc:
        raise InvalidInputError(f"{file} is not UTF-8", hint="save it as UTF-8") from exc
    if len(content) > LARGEST_FILE_BYTES:
        raise InvalidInputError(f"{file} is larger than {LARGEST_FILE_BYTES:,} bytes", hint=_REFERENCE)
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
    if text.count("[") + text.count("{") > _MOST_BRACKETS:
        raise InvalidInputError(f"{file} has more than {_MOST_BRACKETS:,} brackets", hint=_REFERENCE)
    try:
        root = compose(text, Loader=SafeLoader)
    except YAMLError as exc:
        raise InvalidInputError(f"{file} is not YAML: {_problem(exc)}", hint=_REFERENCE) from None
    except RecursionError:
        raise InvalidInputError(f"{file} is nested too deeply", hint=_REFERENCE) from None
    reader = _Reader(file)
    stages = reader.stages(root, section)
    if reader.mistakes:
        raise InvalidInputError("\n".join(reader.mistakes), hint=_REFERENCE)
    return stages


def _problem(exc: YAMLError) -> str:
    mark, problem = getattr(exc, "problem_mark", None), getattr(exc, "problem", None)
    return f"line {mark.line + 1}: {problem}" if mark and problem else " ".join(str(exc).split())


class _Entry:
    """One mapping of the file: its values are taken out by name, what is left is unknown."""

    def __init__(self, reader: _Reader, node: Node, what: str) -> None:
        self.reader = reader
        self.node = node
        self.what = what
        self.values: dict[str, Node] = {}
        if not isinstance(node, MappingNode):
            reader.complain(node, f"{what} must be a section of names and values")
            return
        for key, value in node.value:
            name = str(key.value) if isinstance(key, ScalarNode) else ""
            if not name:
                reader.complain(key, f"{what} has a name that is no text")
            elif name == "<<":
                reader.complain(key, f"{what} merges another section (<<); write its settings out")
            elif name in self.values:
                reader.complain(key, f"{what} says {name} twice")
            else:
                self.values[name] = value

    def take(self, name: str, read: Callable[[str], Value], wanted: str, default: Value) -> Value:
        """One value; a wrong one is complained about and counts as the default."""
        node = self.values.pop(name, None)
        if node is None:
            return default
        if isinstance(node, ScalarNode):
            with suppress(ValueError):  # complained about below
                return read(node.value)
        self.reader.complain(node, f"{self.what} {name} must be {wanted}")
        return default

    def items(self, name: str) -> Iterator[Node]:
        """Each value of a list; none where there is no list."""
        node = self.values.pop(name, None)
        if isinstance(node, SequenceNode):
            yield from node.value
        elif node is not None:
            self.reader.complain(node, f"{self.what} {name} must be a list")

    def require(self, name: str) -> None:
        if name not in self.values and isinstance(self.node, MappingNode):
            self.reader.complain(self.node, f"{self.what} has no {name}")

    def end(self) -> None:
        for name, node in self.values.items():
            self.reader.complain(node, f"{self.what} has an unknown setting: {name}")


class _Reader:
    def __init__(self, file: str) -> None:
        self.file = file
        self.mistakes: list[str] = []

    def complain(self, node: Any, text: str) -> None:
        self.mistakes.append(f"{self.file}:{node.start_mark.line + 1}: {text}")

    def stages(self, root: Node | None, section: str | None) -> tuple[Stage, ...]:
        if root is None:
            self.mistakes.append(f"{self.file} is empty; it needs stages")
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
        top = _Entry(self, root, "the file")
        if section is None and "stages" in top.values:
            chosen = top
        elif section is None and len(top.values) == 1:
            name, node = next(iter(top.values.items()))
            top.values.clear()
            chosen = _Entry(self, node, name)
        elif section is not None and section in top.values:
            chosen = _Entry(self, top.values[section], section)
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
        entry = _Entry(self, node, f"stage {number}")
        for name in ("name", "percentage"):
            entry.require(name)
        stage_name = entry.take("name", _name, "a text with a letter or a digit, of at most 60 characters", "")
        entry.what = f"stage {stage_name!r}" if stage_name else entry.what
        duration = "a whole number and a unit (30s, 30m, 2h, 1d)"
        stage = Stage(
            name=stage_name,
            percentage=entry.take("percentage", _between(1, _WHOLE), "a whole number from 1 to 100", 0),
            duration=entry.take("duration", parse_duration, duration, timedelta()),
            rollback_on_error=entry.take("rollback_on_error", _yes_or_no, "true or false", default=False),
            approval_required=entry.take("approval_required", _yes_or_no, "true or false", default=False),
            max_failures=entry.take("max_failures", _between(0, _MOST), f"a whole number from 0 to {_MOST:,}", 0),
            concurrency=self.sessions(entry, "concurrency"),
            per_server=self.sessions(entry, "per_server"),
            windows=tuple(self.window(one, entry.what) for one in entry.items("windows")),
            wait_for=entry.take("wait_for", _optional_duration, duration, None),
        )
        entry.end()
        return stage

    def sessions(self, entry: _Entry, name: str) -> int | None:
        most = 1000
        number: int = entry.take(name, _between(1, most), f"a whole number from 1 to {most}", 0)
        return number or None

    def window(self, node: Node, stage: str) -> Window:
        entry = _Entry(self, node, f"{stage}: a window")
        for name in ("from", "to"):
            entry.require(name)
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
# What YAML 1.1 takes for a boolean, as its resolver has it.
_BOOLEANS: Mapping[str, bool] = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_LONGEST_NAME = 60


def _name(text: str) -> str:
    if len(text) > _LONGEST_NAME or not text.isprintable() or not _NO_KEY.sub("", text.lower()):
        raise ValueError(text)
    return text


def _between(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
            raise ValueError(text)
        return int(text)

    return read


def _yes_or_no(text: str) -> bool:
    if text.lower() not in _BOOLEANS:
        raise ValueError(text)
    return _BOOLEANS[text.lower()]


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
