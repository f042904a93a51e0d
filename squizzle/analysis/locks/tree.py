"""Names and locks out of parse trees."""

from __future__ import annotations

from collections.abc import Sequence

from squizzle.analysis.grammar import Tree
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import RelationLock, RelationName


def name_of(relation: Tree) -> RelationName:
    """The name in a RangeVar."""
    return RelationName(schema=relation.schemaname, name=relation.relname)


def name_from_list(parts: Sequence[Tree]) -> RelationName:
    """The name in a list of strings: name, schema.name, or catalog.schema.name."""
    words = [part.string.sval for part in parts]
    return RelationName(schema=words[-2] if len(words) > 1 else "", name=words[-1])


def found_lock(relation: Tree, mode: LockMode) -> RelationLock:
    """A lock on the relation of a RangeVar."""
    return RelationLock(relation=name_of(relation), mode=mode)
