"""What the lock map says about the shapes of a statement."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from squizzle.analysis.locks.lock_map import LockMap
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import Effect, Forecast, RelationLock, RelationName, Use
from squizzle.analysis.locks.shapes import Role, Shape

# Reading holds nobody up but ACCESS EXCLUSIVE; locks up to ROW SHARE are left out.
WEAKEST = LockMode.ROW_EXCLUSIVE
_ORDER = (Effect.REMOVES, Effect.REWRITES, Effect.MAY_REWRITE, Effect.READS_ALL)
# Whose rows are many; a new file of a sequence or an index that is named is no news.
_HAVE_ROWS = frozenset({Role.TABLE, Role.PARTITION, Role.REFERENCED, Role.MATERIALIZED_VIEW})
_OTHERS = frozenset(Role) - {Role.INDEX, Role.PARTITION_INDEX}
# What these do to rows the text does not tell as the example did: it depends on the type, on WHERE, on NULLs.
_NOT_AS_MEASURED = frozenset(
    {
        Shape.ALTER_TYPE,
        Shape.ADD_PRIMARY_KEY_USING_INDEX,
        Shape.TRUNCATE,
        Shape.TRUNCATE_CASCADE,
        Shape.TRUNCATE_RESTART_IDENTITY,
        Shape.INSERT,
        Shape.UPDATE,
        Shape.DELETE,
        Shape.MERGE,
        Shape.SELECT_FOR_UPDATE,
    }
)


def foretell(
    uses: Iterable[Use],
    measured: LockMap,
    *,
    effects: Iterable[tuple[RelationName, Effect]] = (),
    complete: bool = True,
    creates: tuple[RelationName, ...] = (),
    renames: tuple[tuple[RelationName, RelationName], ...] = (),
) -> Forecast:
    """The locks and effects of a statement's shapes on the relations that it names.

    Args:
        uses: The shapes.
        measured: The map of the server's version.
        effects: Besides those of the map.
        complete: Whether the text tells everything, as far as the map does not say otherwise.
        creates: What it makes.
        renames: What it calls anew.
    """
    uses = tuple(uses)
    return Forecast(
        locks=strongest_of_each(_locks(uses, measured)),
        effects=_strongest((*effects, *_effects(uses, measured))),
        complete=complete and not any(_locks_more(use, measured) for use in uses),
        creates=creates,
        renames=renames,
        uses=uses,
    )


def strongest_of_each(locks: Iterable[RelationLock]) -> tuple[RelationLock, ...]:
    """One lock for each relation, in the order in which they came."""
    found: dict[RelationName, RelationLock] = {}
    for lock in locks:
        known = found.setdefault(lock.relation, lock)
        if lock.mode.strength > known.mode.strength:
            found[lock.relation] = lock
    return tuple(found.values())


def named_mode(use: Use, role: Role, measured: LockMap) -> LockMode | None:
    """The lock of a shape on a relation that it names; as on a table where it was measured on tables only."""
    mode = measured.mode(use.shape, role)
    return measured.mode(use.shape, Role.TABLE) if mode is None and use.named[0][0] is role else mode


def _locks(uses: Iterable[Use], measured: LockMap) -> Iterator[RelationLock]:
    for use in uses:
        for role, relation in use.named:
            mode = named_mode(use, role, measured)
            if mode is not None and mode.strength >= WEAKEST.strength:
                yield RelationLock(relation=relation, mode=mode)


def _locks_more(use: Use, measured: LockMap) -> bool:
    """Whether the example kept others out of relations that no text names: a referenced table, a sequence."""
    named = {role for role, _relation in use.named}
    return any(
        mode.blocks_writes and role not in named and role in _OTHERS
        for role, mode in measured.of(use.shape).locks.items()
    )


def _effects(uses: Iterable[Use], measured: LockMap) -> Iterator[tuple[RelationName, Effect]]:
    for use in uses:
        if use.shape in _NOT_AS_MEASURED:
            continue
        found = measured.of(use.shape)
        for role, relation in use.named:
            if role not in _HAVE_ROWS:
                continue
            if role in found.rewrites:
                yield relation, Effect.REWRITES
            elif role in found.reads:
                yield relation, Effect.READS_ALL


def _strongest(effects: Iterable[tuple[RelationName, Effect]]) -> tuple[tuple[RelationName, Effect], ...]:
    found: dict[RelationName, Effect] = {}
    for relation, effect in effects:
        found[relation] = min(found.get(relation, effect), effect, key=_ORDER.index)
    return tuple(found.items())
