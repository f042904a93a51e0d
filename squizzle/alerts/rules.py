"""Files of alert rules, as the guide writes them.

    alerts:
      - name: migration_failed
        condition: |
          SELECT COUNT(*) > 0 FROM squizzle_history
          WHERE success = false AND applied_at > NOW() - INTERVAL '5 minutes'
        severity: critical
        notify:
          - pagerduty
          - slack

Nothing is connected: that a condition gives a boolean is for the server to say, when it is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta
from importlib import resources
from pathlib import Path

from yaml import Node, ScalarNode, SequenceNode

from squizzle.alerts.conditions import read_condition
from squizzle.alerts.records import AlertRule
from squizzle.durations import parse_duration
from squizzle.errors import InvalidInputError
from squizzle.lined_yaml import Entry, Mistakes, parse_settings, read_settings_text
from squizzle.settings.watch import SHIPPED_ALERTS
from squizzle.severity import SEVERITIES, Severity, severity_of

_REFERENCE = "see docs/alerts.md"
_LONGEST_NAME = 60
_NO_KEY = re.compile(r"[^a-z0-9]+")
_CHANNEL = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}")
# What else people call them; the guide has both.
_BLOCKS = frozenset({"|", ">"})


def read_alert_rules(files: Iterable[Path | str]) -> tuple[AlertRule, ...]:
    """The rules of some files together, in order.

    Args:
        files: YAML files; the word `guide` stands for the rules that come with Squizzle.

    Raises:
        InvalidInputError: A file cannot be read or is wrong, or two rules have one name; the message has every mistake
            of the first file that has some, each with its line.
    """
    rules: dict[str, AlertRule] = {}
    for file in dict.fromkeys(map(str, files)):
        for rule in _of_file(file):
            known = rules.setdefault(_key(rule.name), rule)
            if known is not rule:
                raise InvalidInputError(
                    f"{rule.place}: the alert {rule.name!r} has the name of the one at {known.place}",
                    hint="give it another name, or name only one of the files",
                )
    return tuple(rules.values())


def _of_file(file: str) -> tuple[AlertRule, ...]:
    if file == SHIPPED_ALERTS:
        text = resources.files("squizzle.alerts").joinpath("guide.yaml").read_text(encoding="utf-8")
    else:
        text = read_settings_text(Path(file), kind="a file of alert rules", reference=_REFERENCE)
    return parse_alert_rules(text, file=file)


def parse_alert_rules(text: str, *, file: str) -> tuple[AlertRule, ...]:
    """The rules of a text, in order.

    Args:
        text: YAML.
        file: What complaints call it.

    Raises:
        InvalidInputError: It is wrong; the message has every mistake with its line.
    """
    reader = _Reader(Mistakes(file, _REFERENCE))
    rules = reader.rules(parse_settings(text, file=file, reference=_REFERENCE))
    reader.mistakes.refuse()
    return rules


class _Reader:
    def __init__(self, mistakes: Mistakes) -> None:
        self.mistakes = mistakes

    def rules(self, root: Node | None) -> tuple[AlertRule, ...]:
        if root is None:
            self.mistakes.at(1, "the file is empty; it needs alerts")
            return ()
        top = Entry(self.mistakes, root, "the file")
        top.require("alerts")
        listed = top.values.pop("alerts", None)
        top.end()
        if listed is None:
            return ()
        if not isinstance(listed, SequenceNode) or not listed.value:
            self.mistakes.complain(listed, "alerts must be a list of at least one alert")
            return ()
        rules = [self.rule(node, number) for number, node in enumerate(listed.value, start=1)]
        seen: dict[str, str] = {}
        for node, rule in zip(listed.value, rules, strict=True):
            known = seen.setdefault(_key(rule.name), rule.place)
            if rule.name and known != rule.place:
                self.mistakes.complain(node, f"alert {rule.name!r} has the name of the one at {known}")
        return tuple(rules)

    def rule(self, node: Node, number: int) -> AlertRule:
        entry = Entry(self.mistakes, node, f"alert {number}")
        entry.require("name", "condition", "severity")
        name = entry.take("name", _name, f"a text with a letter or a digit, of at most {_LONGEST_NAME} characters", "")
        entry.what = f"alert {name!r}" if name else entry.what
        rule = AlertRule(
            name=name,
            condition=self.condition(entry),
            severity=entry.take("severity", severity_of, f"one of {SEVERITIES}", Severity.CRITICAL),
            notify=self.channels(entry),
            hold=entry.take("for", parse_duration, "a whole number and a unit (30s, 5m, 2h)", timedelta()),
            place=f"{self.mistakes.file}:{node.start_mark.line + 1}",
        )
        entry.end()
        return rule

    def condition(self, entry: Entry) -> str:
        node = entry.values.get("condition")
        text = entry.take("condition", str, "a text: one SELECT", "")
        if node is None or not isinstance(node, ScalarNode):
            return ""
        read = read_condition(text)
        # What stands behind `|` begins on the next line.
        first = node.start_mark.line + 1 + (node.style in _BLOCKS)
        for line, problem in read.problems:
            self.mistakes.at(first + line - 1, f"{entry.what} condition {problem}")
        return read.sql

    def channels(self, entry: Entry) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for node in entry.items("notify"):
            name = str(node.value) if isinstance(node, ScalarNode) else ""
            if not _CHANNEL.fullmatch(name):
                told = "a channel's name in small letters, digits, - and _ (slack, email, pagerduty)"
                self.mistakes.complain(node, f"{entry.what} notify must be {told}")
            elif name in found:
                self.mistakes.complain(node, f"{entry.what} notify says {name} twice")
            found[name] = None
        return tuple(found)


def _key(name: str) -> str:
    """Unique also as part of a key: small letters and digits only."""
    return _NO_KEY.sub("-", name.lower())


def _name(text: str) -> str:
    if len(text) > _LONGEST_NAME or not text.isprintable() or not _NO_KEY.sub("", text.lower()):
        raise ValueError(text)
    return text
