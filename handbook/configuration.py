"""Every setting of squizzle.toml: which there are the reader is asked, what they mean the records that keep them."""

from __future__ import annotations

import dataclasses
import inspect
import re
import tomllib
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any

from handbook.configuration_parts import PARTS, Part
from squizzle.config import _Reader
from squizzle.errors import InvalidInputError

PAGE = Path("docs/configuration.md")
EXAMPLE = Path(__file__).with_name("squizzle.toml")
"""A file with every setting."""

BEGIN, END = "<!-- settings: written by `make docs` -->", "<!-- end of settings -->"
_ALTERNATIVE = "#! "


# Any name may stand there.
_FREE = {"lint.severity": "RULE", "contacts": "WHO", "approvals.slack.people": "ID"}


def render_configuration() -> str:
    """The whole page: what is written by hand, and between two marks what comes from the code."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n\n{_settings()}\n{END}{after}"


def _settings() -> str:
    known = known_settings()
    examples = example_lines()
    needed = needed_settings()
    lines: list[str] = []
    for part in PARTS:
        lines += [f"### {_anchored(part.title)}\n", *([f"More: {part.about}.\n"] if part.about else [])]
        lines += ["| setting | type | default | meaning | example |", "|---|---|---|---|---|"]
        for name in (name for section, name in examples if section == part.example):
            kind = known[part.example][name]
            meaning, default = _said(part, name)
            if (part.example, name) in needed:
                default = "required"
            cells = (f"`{name}`", kind, default, meaning, f"`{examples[part.example, name]}`")
            lines.append("| " + " | ".join(one.replace("|", "\\|") for one in cells) + " |")
        lines.append("")
    return "\n".join(lines)


def _anchored(title: str) -> str:
    return f"`{title}`"


# What there is


class _Asked(dict[str, object]):
    """A section that notes which settings are taken out of it."""

    def __init__(self, section: dict[str, object], where: str, known: dict[str, dict[str, str]]) -> None:
        super().__init__(section)
        self._where = where
        self._known = known

    def pop(self, name: str, *default: Any) -> Any:
        value = super().pop(name, *default)
        if f"{self._where}.{name}" not in _sections():
            self._known.setdefault(self._where, {}).setdefault(name, _kind_of(value))
        return value


def _sections() -> frozenset[str]:
    """The sections of the example; what else is a table there is one setting, written on one line."""
    headers = re.findall(r"^\[+([^]]+)\]+$", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE)
    steps = [header.split(".") for header in headers]
    return frozenset(".".join(one[:count]) for one in steps for count in range(1, len(one) + 1))


class _AskingReader(_Reader):
    """Reads a file as every verb does, and notes what it asks for."""

    def __init__(self) -> None:
        super().__init__(EXAMPLE.name)
        self.known: dict[str, dict[str, str]] = {}

    def section(self, value: object, where: str) -> dict[str, object]:
        place = where.partition(" (")[0]
        found = super().section(value, where)
        if place in _FREE:
            self.known[place] = {_FREE[place]: "text"}
            return found
        return _Asked(found, place, self.known)

    def duration(self, section: dict[str, object], where: str, name: str, default: timedelta) -> timedelta:
        self.known.setdefault(where, {})[name] = "duration"
        return super().duration(section, where, name, default)

    def text(self, section: dict[str, object], where: str, name: str) -> str | None:
        if where not in _FREE:
            self.known.setdefault(where.partition(" (")[0], {}).setdefault(name, "text")
        return super().text(section, where, name)


def known_settings() -> dict[str, dict[str, str]]:
    """Every setting that the reader asks for, by its section in the example, with its type."""
    reader = _AskingReader()
    reader.config(tomllib.loads(EXAMPLE.read_text(encoding="utf-8")), EXAMPLE.parent)
    return reader.known


def needed_settings() -> set[tuple[str, str]]:
    """The settings without which the example cannot be read, by section and name."""
    found = set()
    for section, name in example_lines():
        content = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))
        place: Any = content
        for step in section.split("."):
            place = place[0][step] if isinstance(place, list) else place[step]
        if (place[0] if isinstance(place, list) else place).pop(name, None) is not None:
            try:
                _Reader(EXAMPLE.name).config(content, EXAMPLE.parent)
            except InvalidInputError:
                found.add((section, name))
    return found


def _kind_of(value: object) -> str:
    kinds: dict[type[object], str] = {
        bool: "`true` or `false`",
        int: "whole number",
        float: "number",
        list: "list of texts",
        dict: "table of texts",
        datetime: "time",
    }
    return kinds.get(type(value), "text")


def example_lines() -> dict[tuple[str, str], str]:
    """The value that the example has for each setting, by section and name."""
    found: dict[tuple[str, str], str] = {}
    section = ""
    for line in EXAMPLE.read_text(encoding="utf-8").splitlines():
        if header := re.fullmatch(r"\[+([^]]+)\]+", line):
            section = header[1]
        elif setting := re.fullmatch(rf"(?:{re.escape(_ALTERNATIVE)})?(\S+|\"[^\"]+\") = (.+)", line):
            found[section, _FREE.get(section, setting[1])] = setting[2]
    return found


# What it means


def _said(part: Part, name: str) -> tuple[str, str]:
    """The meaning of a setting, and its default."""
    called = part.called.get(name, name)
    meaning, default = part.meanings.get(name, ""), ""
    for record in part.records:
        fields = {one.name: one for one in dataclasses.fields(record)}
        if called in fields:
            meaning = meaning or _meanings(record)[called]
            default = _default(fields[called])
            break
    if not meaning:
        raise LookupError(f"{part.title} {name}: nothing says what it means")
    if name.endswith("_env") and called != name:
        meaning = f"The variable that holds it: {meaning[0].lower()}{meaning[1:]}"
    return meaning, default


def _meanings(record: type[Any]) -> dict[str, str]:
    """What the docstring of a record says of its fields."""
    text = inspect.cleandoc(record.__doc__ or "").partition("Attributes:\n")[2]
    found: dict[str, str] = {}
    for match in re.finditer(r"^    (\w[\w, ]*): (.*(?:\n     +\S.*)*)", text, re.MULTILINE):
        words = " ".join(match[2].split())
        words = re.sub(r" \(`\[[^)]*\)", "", words)
        # What the code calls None is a setting that is not there.
        words = re.sub(r"[;.] None for (none|nothing|nowhere|not at all)\b", "", words)
        words = re.sub(r"([;.]) None(?: for|:)", r"\1 without it", words)
        found |= dict.fromkeys(match[1].split(", "), words)
    return found


def _default(one: dataclasses.Field[Any]) -> str:
    if one.default is dataclasses.MISSING:
        return "required" if one.default_factory is dataclasses.MISSING else ""
    return _written(one.default)


def _written(value: object) -> str:
    """A value as the file has it; nothing for one that stands for nothing."""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, timedelta):
        return f"`{_duration(value)}`"
    if isinstance(value, Enum):
        return f"`{value.value}`"
    if isinstance(value, tuple):
        return f"`[{', '.join(f'{chr(34)}{one}{chr(34)}' for one in value)}]`" if value else ""
    if isinstance(value, (int, float, str, Path)) and str(value):
        return f"`{value}`"
    return ""


def _duration(value: timedelta) -> str:
    for unit, length in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, rest = divmod(round(value.total_seconds() * 1000), length)
        if not rest:
            return f"{count}{unit}"
    raise AssertionError("a duration is a whole number of milliseconds")
