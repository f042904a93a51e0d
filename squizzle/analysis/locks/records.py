"""What travels: names, locks, and what a statement does under them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.shapes import Role, Shape


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class RelationName:
    """A table, view, sequence or index as a statement names it; `schema` is empty when the search path decides."""

    schema: str = ""
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name

    def may_be(self, other: RelationName) -> bool:
        """Whether both can be the same relation."""
        return self.name == other.name and (not self.schema or not other.schema or self.schema == other.schema)


class RelationSet:
    """Relations that a script made, by name; `in` asks whether a relation can be one of them."""

    def __init__(self, relations: Iterable[RelationName] = ()) -> None:
        self._schemas: dict[str, set[str]] = {}
        self.update(relations)

    def update(self, relations: Iterable[RelationName]) -> None:
        """Add some."""
        for one in relations:
            self._schemas.setdefault(one.name, set()).add(one.schema)

    def __contains__(self, relation: RelationName) -> bool:
        schemas = self._schemas.get(relation.name)
        if schemas is None:
            return False
        return not relation.schema or "" in schemas or relation.schema in schemas


@dataclass(frozen=True, kw_only=True, slots=True)
class RelationLock:
    """One lock on one relation."""

    relation: RelationName
    mode: LockMode


class Effect(StrEnum):
    """What a statement does while it holds its lock, or for good."""

    REWRITES = "rewrites"
    MAY_REWRITE = "may rewrite"
    READS_ALL = "reads all of"
    REMOVES = "removes data of"


@dataclass(frozen=True, kw_only=True, slots=True)
class Use:
    """One shape as a statement uses it.

    Attributes:
        shape: Which.
        named: The relations that the text names, each with its part.
        member: The column or constraint that goes or changes; the name of what is no relation (a type, a function).
        cascade: Whether it says CASCADE.
        only: Whether it leaves out children and partitions (ONLY).
    """

    shape: Shape
    named: tuple[tuple[Role, RelationName], ...] = ()
    member: RelationName | None = None
    cascade: bool = False
    only: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """What a statement, or a script, is expected to lock.

    Attributes:
        locks: On relations that were there before, the strongest of each; ACCESS SHARE and ROW SHARE are left out.
        effects: What happens to which relation under its lock.
        complete: False when it may lock more than its text says: CASCADE, functions, DO, what cannot be parsed.
        creates: Relations that it makes; locks on them hold nobody up.
        renames: What it calls anew: (before, after).
        uses: The shapes of the lock map that it was told from.
    """

    locks: tuple[RelationLock, ...] = ()
    effects: tuple[tuple[RelationName, Effect], ...] = ()
    complete: bool = True
    creates: tuple[RelationName, ...] = ()
    renames: tuple[tuple[RelationName, RelationName], ...] = ()
    uses: tuple[Use, ...] = ()

    @property
    def strongest(self) -> RelationLock | None:
        """The lock that holds up the most."""
        return max(self.locks, key=lambda lock: lock.mode.strength, default=None)

    def without(self, created: RelationSet) -> Forecast:
        """The same but for relations that were made just before: locks on them hold nobody up."""
        relations = (*(lock.relation for lock in self.locks), *(relation for relation, _effect in self.effects))
        uses = tuple(use for use in self.uses if not use.named or use.named[0][1] not in created)
        if len(uses) == len(self.uses) and not any(relation in created for relation in relations):
            return self
        locks = tuple(lock for lock in self.locks if lock.relation not in created)
        effects = tuple((relation, effect) for relation, effect in self.effects if relation not in created)
        return replace(self, locks=locks, effects=effects, uses=uses)

    def unforeseen(self, observed: Iterable[RelationLock]) -> tuple[RelationLock, ...]:
        """The observed locks that are stronger than the forecast said, or on relations that it did not name."""
        return tuple(lock for lock in observed if lock.mode.strength > self._strength_on(lock.relation))

    def _strength_on(self, relation: RelationName) -> int:
        modes = (lock.mode.strength for lock in self.locks if lock.relation.may_be(relation))
        return max(modes, default=0)
