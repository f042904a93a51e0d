"""The page of the measured lock map, rendered from its data; `make lockmap` writes it, and a test compares it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from squizzle.analysis.locks.lock_map import LockMap, Measurement
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.shapes import Kind, Role, Shape

PAGE = Path("docs") / "lock-map.md"

_SHORT = {
    LockMode.ACCESS_SHARE: "AS",
    LockMode.ROW_SHARE: "RS",
    LockMode.ROW_EXCLUSIVE: "RX",
    LockMode.SHARE_UPDATE_EXCLUSIVE: "SUX",
    LockMode.SHARE: "S",
    LockMode.SHARE_ROW_EXCLUSIVE: "SRX",
    LockMode.EXCLUSIVE: "X",
    LockMode.ACCESS_EXCLUSIVE: "AX",
}
_INTRODUCTION = """\
# The lock map

Which locks PostgreSQL takes for each kind of statement, on which relations, and whether it writes the table anew or
reads all of it. Nobody typed this in: `make lockmap` runs every statement on every server at hand, looks from a second
session, and writes the data (`squizzle/analysis/locks/maps/`) and this page. A test measures it anew. `squizzle lint`,
`plan` and `apply` tell locks from the same data; with a database named (`--env`, `--url`) its catalogue says which
relations the parts below are.

A server of a version that was not measured is taken for the nearest lower one. {versions}

Modes: AS `ACCESS SHARE`, RS `ROW SHARE`, RX `ROW EXCLUSIVE`, SUX `SHARE UPDATE EXCLUSIVE`, S `SHARE`,
SRX `SHARE ROW EXCLUSIVE`, X `EXCLUSIVE`, AX `ACCESS EXCLUSIVE`. From S on writers wait, at AX readers as well. Only the
strongest lock of each part is shown; locks on indexes and TOAST tables of a table go with its own and stand in the data
only, unless no table is locked as strongly.

Statements with ◦ run outside transactions. They were stopped wherever they wait for others, and what they held or asked
for there is shown: what they take for a moment in between may be missing.

In the statements `t` is a plain table, `p` a partitioned one, `h` one that others inherit from; `t_u` is the table that
`t` refers to, `t_v` a view on it.
"""
_HEADS = {
    "Columns": Shape.ADD_COLUMN,
    "Constraints": Shape.ADD_CHECK,
    "Tables": Shape.RENAME_TABLE,
    "Partitions and inheritance": Shape.INHERIT,
    "Tables made, dropped and emptied": Shape.CREATE_TABLE,
    "Indexes": Shape.CREATE_INDEX,
    "Views and sequences": Shape.CREATE_VIEW,
    "Triggers, rules, policies, statistics, comments": Shape.CREATE_TRIGGER,
    "Maintenance": Shape.ANALYZE,
    "Rows": Shape.INSERT,
    "Rights, types and functions": Shape.GRANT,
}


def render(maps: Sequence[LockMap]) -> str:
    """The whole page in Markdown.

    Args:
        maps: Of all measured versions, the oldest first.
    """
    measured = " and ".join(str(one.major) for one in maps)
    lines = [_INTRODUCTION.format(versions=f"Measured on PostgreSQL {measured}.")]
    heads = {shape: title for title, shape in _HEADS.items()}
    for shape in Shape:
        if shape in heads:
            lines += ["", f"## {heads[shape]}", "", "| statement | on | locks | writes anew | reads all of |"]
            lines.append("|---|---|---|---|---|")
        lines += _rows(shape, maps)
    return "\n".join([*lines, ""])


def _rows(shape: Shape, maps: Sequence[LockMap]) -> Iterator[str]:
    """A row for each kind of table, or several where the versions differ; equal ones of other kinds are left out."""
    last = maps[-1].shapes[shape]
    name = f"`{last.statement}`" + ("" if last.transactional else " ◦")
    shown: list[str] = []
    for kind in last.on:
        cells = [(one.major, _cells(one.shapes[shape].on[kind])) for one in maps]
        texts = list(dict.fromkeys(text for _major, text in cells))
        for text in texts:
            majors = ", ".join(str(major) for major, found in cells if found == text)
            where = kind.value if len(texts) == 1 else f"{kind.value}, {majors}"
            if len(texts) > 1 or kind is Kind.PLAIN or text not in shown:
                yield f"| {name} | {where} | {text} |"
            shown.append(text)


def _cells(measured: Measurement) -> str:
    if measured.refused:
        return f"refused (SQLSTATE {measured.refused}) | | "
    locks = ", ".join(f"{role} {_SHORT[mode]}" for role, mode in _shown(measured))
    return f"{locks or 'none'} | {_parts(measured.rewrites)} | {_parts(measured.reads)}"


def _shown(measured: Measurement) -> list[tuple[str, LockMode]]:
    """The locks that a reader needs, the table's own first."""
    tables = {role: mode for role, mode in measured.locks.items() if not _is_part_of_table(role)}
    strongest = max((mode.strength for mode in tables.values()), default=0)
    indexes = {role: mode for role, mode in measured.locks.items() if role not in tables and mode.strength > strongest}
    found = [*tables.items(), *indexes.items()]
    return sorted(found, key=lambda one: (one[0] != Role.TABLE, -one[1].strength, one[0]))


def _parts(roles: Iterable[str]) -> str:
    return ", ".join(role for role in roles if not _is_part_of_table(role))


def _is_part_of_table(role: str) -> bool:
    return role.startswith(("an index of", "the TOAST table"))
