"""The measured map: what each shape of statement locks, writes anew and reads, by major version of the server.

`make lockmap` measures it, and a test compares it with the servers at hand. What is not in it nobody has seen.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.shapes import Kind, Role, Shape

_PACKAGE = "squizzle.analysis.locks.maps"
_FILE = re.compile(r"postgresql_(\d+)\.json")


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """What one shape of statement did to one kind of table.

    Attributes:
        locks: The strongest lock on the relations of each part; indexes and TOAST of side relations included.
        rewrites: The parts whose files were written anew.
        reads: The parts whose rows were all read.
        refused: SQLSTATE with which the server refused it; empty when it ran.
        strong: The parts that writers are kept out of, indexes and TOAST left out; told from the locks.
    """

    locks: Mapping[str, LockMode] = field(default_factory=dict)
    rewrites: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    refused: str = ""
    strong: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        relations = frozenset(Role) - {Role.INDEX, Role.PARTITION_INDEX}
        strong = (role for role, mode in self.locks.items() if mode.blocks_writes and role in relations)
        object.__setattr__(self, "strong", frozenset(strong))


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredShape:
    """What is known of one shape.

    Attributes:
        statement: The statement that was run, about the table `t`.
        transactional: False when it was watched from a second session while it waited: what it locks for moments
            only may be missing.
        on: By the kind of table.
    """

    statement: str
    transactional: bool
    on: Mapping[Kind, Measurement]


@dataclass(frozen=True, kw_only=True, slots=True)
class LockMap:
    """The map of one major version."""

    major: int
    shapes: Mapping[str, MeasuredShape]

    def of(self, shape: Shape, kind: Kind = Kind.PLAIN) -> Measurement:
        """What was measured; on another kind of table where this one was not, since most shapes do not care.

        What this version refuses is told as the newest one does it.
        """
        on = self.shapes[shape].on
        found = on[kind] if kind in on else next(iter(on.values()))
        return lock_map().of(shape, kind) if found.refused and self.major < known_majors()[-1] else found

    def mode(self, shape: Shape, role: Role, kind: Kind = Kind.PLAIN) -> LockMode | None:
        """The lock on a relation by its part; None for none."""
        return self.of(shape, kind).locks.get(role)


@cache
def known_majors() -> tuple[int, ...]:
    """The measured majors, the oldest first."""
    found = (_FILE.fullmatch(entry.name) for entry in resources.files(_PACKAGE).iterdir())
    return tuple(sorted(int(match[1]) for match in found if match))


def lock_map(major: int | None = None) -> LockMap:
    """The map of a major version; of the nearest lower one that was measured, or the newest for an unknown one.

    Args:
        major: Of the server that a statement will run on; None when nobody knows.
    """
    majors = known_majors()
    lower = [one for one in majors if major is None or one <= major]
    return _load(lower[-1] if lower else majors[0])


@cache
def _load(major: int) -> LockMap:
    return read_map(resources.files(_PACKAGE).joinpath(f"postgresql_{major}.json").read_text(encoding="utf-8"))


def read_map(text: str) -> LockMap:
    """A map out of its file."""
    document = json.loads(text)
    shapes = {name: _shape(one) for name, one in document["shapes"].items()}
    return LockMap(major=document["postgresql"], shapes=shapes)


def write_map(found: LockMap) -> str:
    """A map as its file holds it: a line for each kind of table, in the order of the shapes: changes are small."""
    lines = [f'{{"postgresql": {found.major}, "shapes": {{']
    for name, one in found.shapes.items():
        head = {"statement": one.statement, "transactional": one.transactional}
        lines.append(f'{json.dumps(name)}: {json.dumps(head, ensure_ascii=False)[:-1]}, "on": {{')
        kinds = [
            f"  {json.dumps(kind.value)}: {json.dumps(dict(_parts(measured)))}" for kind, measured in one.on.items()
        ]
        lines += [",\n".join(kinds), "}},"]
    lines[-1] = "}}"
    return "\n".join([*lines, "}}", ""])


def _parts(measured: Measurement) -> Iterator[tuple[str, object]]:
    if measured.refused:
        yield "refused", measured.refused
        return
    yield "locks", {role: mode.value for role, mode in sorted(measured.locks.items())}
    if measured.rewrites:
        yield "rewrites", sorted(measured.rewrites)
    if measured.reads:
        yield "reads", sorted(measured.reads)


def _shape(document: Mapping[str, Any]) -> MeasuredShape:
    on = {
        Kind(kind): Measurement(
            locks={role: LockMode(mode) for role, mode in one.get("locks", {}).items()},
            rewrites=tuple(one.get("rewrites", ())),
            reads=tuple(one.get("reads", ())),
            refused=one.get("refused", ""),
        )
        for kind, one in document["on"].items()
    }
    return MeasuredShape(statement=document["statement"], transactional=document["transactional"], on=on)
