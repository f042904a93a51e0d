"""Settings in YAML, read as text with lines, not as Python values.

YAML 1.1 takes `22:00` for the number 1320, and of two equal keys keeps the second without a word. So what a value means
is said by whoever takes it out, and every mistake is told with its line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from yaml import MappingNode, Node, SafeLoader, ScalarNode, SequenceNode, YAMLError, compose

from squizzle.errors import InvalidInputError

LARGEST_FILE_BYTES = 100_000
# The parser's time grows with the square of lists within lists.
_MOST_BRACKETS = 1_000
# What YAML 1.1 takes for a boolean, as its resolver has it.
_BOOLEANS: Mapping[str, bool] = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
Value = TypeVar("Value")


def read_settings_text(file: Path, *, kind: str, reference: str) -> str:
    """The text of a settings file.

    Args:
        file: Which.
        kind: What it is called: `a stages file`.
        reference: Where a reader finds how it is written: `see docs/fleets.md`.

    Raises:
        InvalidInputError: It cannot be read, is no UTF-8, or is too large.
    """
    try:
        with file.open("rb") as stream:
            content = stream.read(LARGEST_FILE_BYTES + 1)
        text = content.decode("utf-8")
    except OSError as exc:
        raise InvalidInputError(f"{file} cannot be read: {exc.strerror}", hint=f"name {kind}") from exc
    except UnicodeDecodeError as exc:
        raise InvalidInputError(f"{file} is not UTF-8", hint="save it as UTF-8") from exc
    if len(content) > LARGEST_FILE_BYTES:
        raise InvalidInputError(f"{file} is larger than {LARGEST_FILE_BYTES:,} bytes", hint=reference)
    return text


def parse_settings(text: str, *, file: str, reference: str) -> Node | None:
    """The text as nodes that know their lines; None where it is empty.

    Args:
        text: YAML.
        file: What complaints call it.
        reference: As for `read_settings_text`.

    Raises:
        InvalidInputError: It is no YAML, or is nested too deeply.
    """
    if text.count("[") + text.count("{") > _MOST_BRACKETS:
        raise InvalidInputError(f"{file} has more than {_MOST_BRACKETS:,} brackets", hint=reference)
    try:
        return compose(text, Loader=SafeLoader)
    except YAMLError as exc:
        raise InvalidInputError(f"{file} is not YAML: {_problem(exc)}", hint=reference) from None
    except RecursionError:
        raise InvalidInputError(f"{file} is nested too deeply", hint=reference) from None


def _problem(exc: YAMLError) -> str:
    mark, problem = getattr(exc, "problem_mark", None), getattr(exc, "problem", None)
    return f"line {mark.line + 1}: {problem}" if mark and problem else " ".join(str(exc).split())


class Mistakes:
    """Every mistake of one file, to be told at once."""

    def __init__(self, file: str, reference: str) -> None:
        self.file = file
        self.reference = reference
        self.found: list[str] = []

    def complain(self, node: Any, text: str) -> None:
        """One more, with the line of a node."""
        self.at(node.start_mark.line + 1, text)

    def at(self, line: int, text: str) -> None:
        """One more, at a line."""
        self.found.append(f"{self.file}:{line}: {text}")

    def refuse(self) -> None:
        """End it here where there are any.

        Raises:
            InvalidInputError: The message has each on a line.
        """
        if self.found:
            raise InvalidInputError("\n".join(self.found), hint=self.reference)


class Entry:
    """One mapping of the file: its values are taken out by name, what is left is unknown."""

    def __init__(self, mistakes: Mistakes, node: Node, what: str) -> None:
        self.mistakes = mistakes
        self.node = node
        self.what = what
        self.values: dict[str, Node] = {}
        if not isinstance(node, MappingNode):
            mistakes.complain(node, f"{what} must be a section of names and values")
            return
        for key, value in node.value:
            name = str(key.value) if isinstance(key, ScalarNode) else ""
            if not name:
                mistakes.complain(key, f"{what} has a name that is no text")
            elif name == "<<":
                mistakes.complain(key, f"{what} merges another section (<<); write its settings out")
            elif name in self.values:
                mistakes.complain(key, f"{what} says {name} twice")
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
        self.mistakes.complain(node, f"{self.what} {name} must be {wanted}")
        return default

    def items(self, name: str) -> Iterator[Node]:
        """Each value of a list; none where there is no list."""
        node = self.values.pop(name, None)
        if isinstance(node, SequenceNode):
            yield from node.value
        elif node is not None:
            self.mistakes.complain(node, f"{self.what} {name} must be a list")

    def require(self, *names: str) -> None:
        """Complain about each of these that is missing."""
        for name in names:
            if name not in self.values and isinstance(self.node, MappingNode):
                self.mistakes.complain(self.node, f"{self.what} has no {name}")

    def end(self) -> None:
        """Complain about what nobody took."""
        for name, node in self.values.items():
            self.mistakes.complain(node, f"{self.what} has an unknown setting: {name}")


def between(least: int, most: int) -> Callable[[str], int]:
    """Reads a whole number in these limits, for `Entry.take`."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
            raise ValueError(text)
        return int(text)

    return read


def yes_or_no(text: str) -> bool:
    """Reads what YAML takes for a boolean, for `Entry.take`."""
    if text.lower() not in _BOOLEANS:
        raise ValueError(text)
    return _BOOLEANS[text.lower()]
