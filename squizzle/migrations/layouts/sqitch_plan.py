"""`sqitch.plan`: which changes there are, in which order, and which tags stand behind which.

Facts from sqitch 1.3.1's sources (`App/Sqitch/Plan.pm`, `Plan/Line.pm`). Dependencies are not checked: sqitch refuses a
plan in which a change comes before one that it requires, so the order of a plan that sqitch accepts is right already.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from squizzle.errors import InvalidInputError

PLAN = "sqitch.plan"
_PRAGMA = re.compile(r"\s*%\s*(?P<name>[^\s=]+)\s*(?:=\s*(?P<value>.*))?")
_LINE = re.compile(
    r"\s*(?:(?P<tag>@)|(?P<sign>[+-])\s*)?"
    # No punctuation but _ in front, and none of @ : # \ anywhere.
    r"(?P<name>(?![-!\"$%&'()*+,./;<=>?\[\]^`{|}~])[^\s:@#\\]+)"
    r"\s+(?:\[(?P<dependencies>[^\]]+)\]\s*)?"
    r"(?P<at>[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)\s+(?P<planner>[^<]*\S)\s+<(?P<email>[^>]+)>\s*"
)
_ESCAPED = re.compile(r"\\([\\nr])")
_ESCAPES = {"\\": "\\", "n": "\n", "r": "\r"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """Who wrote a line of the plan, when, and why.

    Attributes:
        at: The time as the plan has it, in UTC: `2024-01-02T03:04:05Z`.
        planner: The name.
        email: The address.
        note: What stands behind `#`; empty when there is none.
    """

    at: str
    planner: str
    email: str
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tag:
    """One tag of a plan; `name` is without the `@`."""

    name: str
    planned: Planned


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One change of a plan.

    Attributes:
        name: What the plan calls it; a change that was reworked is there more than once.
        line: The line of the plan, counted from 1.
        planned: Who wrote it, and when.
        requires: The changes that it needs, as the plan names them.
        conflicts: Those that must not be there, without the `!`.
        tags: The tags that stand behind it, before the next change.
    """

    name: str
    line: int
    planned: Planned
    requires: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    tags: tuple[Tag, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A whole plan: its project, the project's URI (None when it has none), and its changes in their order."""

    project: str
    uri: str | None
    changes: tuple[Change, ...]


def parse_plan(text: str, *, source: str) -> Plan:
    """Read a plan.

    Args:
        text: The plan.
        source: Its file, for messages.

    Raises:
        InvalidInputError: A line that is neither pragma, change, tag nor comment; a tag or a change twice; a tag before
            the first change; a change that reverts. Nothing was changed.
    """
    parser = _Parser(source)
    for number, line in enumerate(text.split("\n"), start=1):
        parser.take(line, number)
    project = parser.pragmas.get("project")
    if not project:
        raise InvalidInputError(f"{source} does not name its project", hint="write %project=NAME on its second line")
    return Plan(project=project, uri=parser.pragmas.get("uri"), changes=tuple(parser.changes))


class _Parser:
    def __init__(self, source: str) -> None:
        self.source = source
        self.pragmas: dict[str, str] = {}
        self.changes: list[Change] = []
        self.tag_lines: dict[str, int] = {}
        self.lines_since_tag: dict[str, int] = {}

    def take(self, line: str, number: int) -> None:
        content, _, note = line.partition("#")
        content = content.rstrip()
        if not content:
            return
        pragma = _PRAGMA.fullmatch(content)
        if pragma is not None and not self.changes:
            self.pragmas[pragma["name"]] = pragma["value"] or ""
            return
        match = _LINE.fullmatch(content)
        if match is None:
            raise self.problem(number, f"{content.strip()!r} is no line of a plan")
        if match["sign"] == "-":
            raise self.problem(number, f"{match['name']} is planned to be reverted, which Squizzle does not do")
        planned = Planned(at=match["at"], planner=match["planner"], email=match["email"], note=_unescaped(note.strip()))
        if match["tag"]:
            self.take_tag(Tag(name=match["name"], planned=planned), number)
        else:
            self.take_change(match, planned, number)

    def take_tag(self, tag: Tag, number: int) -> None:
        if not self.changes:
            raise self.problem(number, f"the tag @{tag.name} stands before the first change")
        if tag.name in self.tag_lines:
            raise self.problem(number, f"the tag @{tag.name} is there already, in line {self.tag_lines[tag.name]}")
        self.tag_lines[tag.name] = number
        self.lines_since_tag.clear()
        self.changes[-1] = replace(self.changes[-1], tags=(*self.changes[-1].tags, tag))

    def take_change(self, match: re.Match[str], planned: Planned, number: int) -> None:
        name = match["name"]
        if name in self.lines_since_tag:
            raise self.problem(
                number, f"{name} is there already, in line {self.lines_since_tag[name]}, and no tag stands between"
            )
        self.lines_since_tag[name] = number
        needs = (match["dependencies"] or "").split()
        self.changes.append(
            Change(
                name=name,
                line=number,
                planned=planned,
                requires=tuple(need for need in needs if not need.startswith("!")),
                conflicts=tuple(need[1:] for need in needs if need.startswith("!")),
            )
        )

    def problem(self, number: int, text: str) -> InvalidInputError:
        return InvalidInputError(f"{self.source}:{number}: {text}", hint="`sqitch plan` shows what sqitch makes of it")


def _unescaped(note: str) -> str:
    return _ESCAPED.sub(lambda match: _ESCAPES[match[1]], note)
