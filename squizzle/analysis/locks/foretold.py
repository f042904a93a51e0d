"""What the lock map says about the shapes of a statement."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from squizzle.analysis.locks.lock_map import LockMap, Measurement
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import Effect, Forecast, RelationLock, RelationName, Use
from squizzle.analysis.locks.shapes import Role, Shape

# Reading holds up nothing but ACCESS EXCLUSIVE.
_WEAK = frozenset({LockMode.ACCESS_SHARE, LockMode.ROW_SHARE})
_ORDER = (Effect.REMOVES, Effect.REWRITES, Effect.MAY_REWRITE, Effect.READS_ALL)
# Whose rows are many; a new file of a sequence or an index that is named is no news.
_HAVE_ROWS = frozenset({Role.TABLE, Role.PARTITION, Role.REFERENCED, Role.MATERIALIZED_VIEW})
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
    locks: list[RelationLock] = []
    done = list(effects)
    for use in uses:
        found = measured.of(use.shape)
        # Where it was measured on tables only, a view or an index that is named is locked alike.
        on_table = found.locks.get(Role.TABLE)
        for place, (role, relation) in enumerate(use.named):
            mode = found.locks.get(role, None if place else on_table)
            if mode is not None and mode not in _WEAK:
                locks.append(RelationLock(relation=relation, mode=mode))
            if (found.rewrites or found.reads) and role in _HAVE_ROWS and use.shape not in _NOT_AS_MEASURED:
                done += _effects(found, role, relation)
        # A referenced table, a sequence: the example kept others out of relations that no text names.
        if found.strong:
            complete = complete and found.strong <= {role for role, _relation in use.named}
    return Forecast(
        locks=strongest_of_each(locks) if len(locks) > 1 else tuple(locks),
        effects=_strongest(done) if len(done) > 1 else tuple(done),
        complete=complete,
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


def _effects(found: Measurement, role: Role, relation: RelationName) -> Iterator[tuple[RelationName, Effect]]:
    if role in found.rewrites:
        yield relation, Effect.REWRITES
    elif role in found.reads:
        yield relation, Effect.READS_ALL


def _strongest(effects: Iterable[tuple[RelationName, Effect]]) -> tuple[tuple[RelationName, Effect], ...]:
    found: dict[RelationName, Effect] = {}
    for relation, effect in effects:
        found[relation] = min(found.get(relation, effect), effect, key=_ORDER.index)
    return tuple(found.items())
