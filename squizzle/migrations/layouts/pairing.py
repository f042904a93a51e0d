"""Which down script belongs to which up script."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

from squizzle.errors import InvalidInputError
from squizzle.migrations.layouts.order import same_version


@dataclass(frozen=True, kw_only=True, slots=True)
class Script:
    """One direction of a migration that has a file for each.

    Attributes:
        number: What the tool compares.
        version: The number as it is written.
        name: What stands behind it.
        path: The file.
    """

    number: Hashable
    version: str
    name: str
    path: Path


def pair_scripts(ups: Sequence[Script], downs: Sequence[Script]) -> dict[Path, Path]:
    """The down script of each up script that has one, by their files.

    The number decides, as it does for the tools. A down script whose number no up script has belongs to the one up
    script of its name that has no down script yet: that is how renumbered migrations are left behind.

    Raises:
        VersionConflictError: Two up scripts have the same number.
        InvalidInputError: A down script fits none, or more than one. Nothing was changed.
    """
    by_number: dict[Hashable, Script] = {}
    for up in ups:
        twin = by_number.setdefault(up.number, up)
        if twin is not up:
            raise same_version(up.version, twin.path, up.path)
    numbers = {down.number for down in downs}
    left = [up for up in ups if up.number not in numbers]
    found: dict[Path, Path] = {}
    for down in downs:
        up = _partner(down, by_number.get(down.number), [up for up in left if up.name == down.name])
        if up.path in found:
            raise _refused(down.path, f"and {found[up.path].name} both undo {up.path.name}")
        found[up.path] = down.path
    return found


def _partner(down: Script, numbered: Script | None, named: Sequence[Script]) -> Script:
    if numbered is not None and (numbered.name == down.name or not named):
        return numbered
    if numbered is not None:
        names = ", ".join(up.path.name for up in named)
        raise _refused(down.path, f"has the number of {numbered.path.name} and the name of {names}")
    if len(named) == 1:
        return named[0]
    if named:
        raise _refused(down.path, f"has the name of {' and '.join(up.path.name for up in named)}")
    raise _refused(down.path, "undoes nothing: no up script has its number or its name")


def _refused(down: Path, problem: str) -> InvalidInputError:
    return InvalidInputError(f"{down} {problem}", hint="give it the number and the name of the up script it undoes")
