"""`sqitch.plan`: which changes there are, in which order, and which tags stand behind which.

Facts from sqitch 1.3.1's sources (`App/Sqitch/Plan.pm`). Dependencies are not checked: sqitch refuses a plan in which a
change comes before one that it requires, so the order of a plan that sqitch accepts is right already.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from squizzle.errors import InvalidInputError

PLAN = "sqitch.plan"
_PRAGMA = re.compile(r"\s*%\s*(?P<name>[^\s=]+)\s*(?:=.*)?")
_LINE = re.compile(
    r"\s*(?:(?P<tag>@)|(?P<sign>[+-])\s*)?"
    # No punctuation but _ in front, and none of @ : # \ anywhere.
    r"(?P<name>(?![-!\"$%&'()*+,./;<=>?\[\]^`{|}~])[^\s:@#\\]+)"
    r"\s+(?P<dependencies>\[[^\]]+\]\s*)?"
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z\s+[^<]*\S\s+<[^>]+>\s*"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One change of a plan.

    Attributes:
        name: What the plan calls it; a change that was reworked is there more than once.
        line: The line of the plan, counted from 1.
        tags: The tags that stand behind it, before the next change.
    """

    name: str
    line: int
    tags: tuple[str, ...] = ()


def parse_plan(text: str, *, source: str) -> tuple[Change, ...]:
    """The changes of a plan, in its order.

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
    if "project" not in parser.pragmas:
        raise InvalidInputError(f"{source} does not name its project", hint="write %project=NAME on its second line")
    return tuple(Change(name=name, line=line, tags=tuple(tags)) for name, line, tags in parser.changes)


class _Parser:
    def __init__(self, source: str) -> None:
        self.source = source
        self.pragmas: set[str] = set()
        self.changes: list[tuple[str, int, list[str]]] = []
        self.tag_lines: dict[str, int] = {}
        self.lines_since_tag: dict[str, int] = {}

    def take(self, line: str, number: int) -> None:
        content = line.partition("#")[0].rstrip()
        if not content:
            return
        pragma = _PRAGMA.fullmatch(content)
        if pragma is not None and not self.changes:
            self.pragmas.add(pragma["name"])
            return
        match = _LINE.fullmatch(content)
        if match is None:
            raise self.problem(number, f"{content.strip()!r} is no line of a plan")
        if match["sign"] == "-":
            raise self.problem(number, f"{match['name']} is planned to be reverted, which Squizzle does not do")
        if match["tag"]:
            self.take_tag(match["name"], number)
        else:
            self.take_change(match["name"], number)

    def take_tag(self, name: str, number: int) -> None:
        if not self.changes:
            raise self.problem(number, f"the tag @{name} stands before the first change")
        if name in self.tag_lines:
            raise self.problem(number, f"the tag @{name} is there already, in line {self.tag_lines[name]}")
        self.tag_lines[name] = number
        self.lines_since_tag.clear()
        self.changes[-1][2].append(name)

    def take_change(self, name: str, number: int) -> None:
        if name in self.lines_since_tag:
            raise self.problem(
                number, f"{name} is there already, in line {self.lines_since_tag[name]}, and no tag stands between"
            )
        self.lines_since_tag[name] = number
        self.changes.append((name, number, []))

    def problem(self, number: int, text: str) -> InvalidInputError:
        return InvalidInputError(f"{self.source}:{number}: {text}", hint="`sqitch plan` shows what sqitch makes of it")
