"""All rules, and which of them look at a kind of action."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module

from squizzle.analysis import rules
from squizzle.analysis.actions import Action
from squizzle.analysis.rules.rule import Rule

_NO_RULES = frozenset({"columns_said", "own", "registry", "rule", "words"})


@cache
def built_in_rules() -> tuple[Rule, ...]:
    """Every rule of ours, by code."""
    modules = (name for _finder, name, _is_package in pkgutil.iter_modules(rules.__path__) if name not in _NO_RULES)
    found = [import_module(f"{rules.__name__}.{name}").RULE for name in modules]
    return tuple(sorted(found, key=lambda rule: rule.code))


def by_action(chosen: Iterable[Rule]) -> Mapping[type[Action], tuple[Rule, ...]]:
    """The rules that look at each kind of action."""
    found: dict[type[Action], list[Rule]] = {}
    for rule in chosen:
        for kind in rule.on:
            found.setdefault(kind, []).append(rule)
    return {kind: tuple(several) for kind, several in found.items()}
