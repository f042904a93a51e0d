"""Rules of a project: Python files of its own, each with a RULE like ours."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from squizzle.analysis.rules.rule import Rule
from squizzle.errors import InvalidInputError


def load_rules(folder: Path, *, beside: Sequence[Rule] = ()) -> tuple[Rule, ...]:
    """The rules in a folder, by code. Its files are run: they are as much the project's code as its migrations.

    Args:
        folder: Every `.py` file in it defines RULE.
        beside: Rules that are there already, whose codes and names are taken.

    Raises:
        InvalidInputError: No such folder, a file that fails or has no RULE, or a code or name that is taken.
    """
    if not folder.is_dir():
        raise InvalidInputError(f"{folder} is no folder of rules", hint="correct [lint] rules in squizzle.toml")
    rules = list(beside)
    found = []
    for file in sorted(folder.glob("*.py")):
        rule = _load(file)
        twin = next((one for one in rules if rule.code == one.code or rule.name == one.name), None)
        if twin is not None:
            raise InvalidInputError(
                f"{file}: the code {rule.code} or the name {rule.name} is taken by {twin.code} {twin.name}",
                hint="choose others",
            )
        rules.append(rule)
        found.append(rule)
    return tuple(found)


def _load(file: Path) -> Rule:
    spec = importlib.util.spec_from_file_location(f"squizzle_own_rule_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise InvalidInputError(f"{file} cannot be loaded", hint="give it a plain name that ends with .py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as exc:
        # Whatever a project's own file raises, the reader has to be told which file it was.
        raise InvalidInputError(f"{file} fails: {type(exc).__name__}: {exc}", hint="mend the rule") from exc
    rule = getattr(module, "RULE", None)
    if not isinstance(rule, Rule):
        raise InvalidInputError(f"{file} defines no RULE", hint="see squizzle/analysis/rules for how one looks")
    return rule
