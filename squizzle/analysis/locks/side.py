"""The side relations of a statement: what it locks besides the relations that it names, as the catalogue tells. Pure.

Which relations hang together the catalogue says; in which mode they are locked says the measured map.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from squizzle.analysis.locks.dropped import Touched, default_partition, touched_by_drop
from squizzle.analysis.locks.foretold import strongest_of_each
from squizzle.analysis.locks.kin import Kin, ObjectId, OtherObject, Relation
from squizzle.analysis.locks.lock_map import LockMap
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import Forecast, RelationLock, RelationName, Use
from squizzle.analysis.locks.shapes import Kind, Role, Shape

_DROPS = frozenset(
    {
        Shape.DROP_TABLE,
        Shape.DROP_VIEW,
        Shape.DROP_MATERIALIZED_VIEW,
        Shape.DROP_SEQUENCE,
        Shape.DROP_INDEX,
        Shape.DROP_INDEX_CONCURRENTLY,
    }
)
_DROP_CONSTRAINT = frozenset({Shape.DROP_CONSTRAINT, Shape.DROP_CONSTRAINT_CASCADE})
_DROP_COLUMN = frozenset({Shape.DROP_COLUMN, Shape.DROP_COLUMN_CASCADE})
_OBJECTS_ON_TABLES = {
    Shape.DROP_TRIGGER: "pg_trigger",
    Shape.DROP_POLICY: "pg_policy",
    Shape.DROP_RULE: "pg_rewrite",
}
_OF_ONE_PARTITION = frozenset(
    {
        Shape.ATTACH_PARTITION,
        Shape.DETACH_PARTITION,
        Shape.DETACH_PARTITION_CONCURRENTLY,
        Shape.DETACH_PARTITION_FINALIZE,
        Shape.CREATE_PARTITION,
    }
)
# What changing the type of a column of a foreign key does to the other end.
_OTHER_END = {Role.REFERENCED: Shape.ALTER_TYPE_OF_FOREIGN_KEY, Role.REFERENCING: Shape.ALTER_TYPE_OF_KEY}
# What depends on the object itself, children's copies included, or concerns no children.
_WITHOUT_CHILDREN = _DROPS | frozenset(_OBJECTS_ON_TABLES)
# Of these kinds of constraints children have copies of the same name: CHECK, NOT NULL.
_INHERITED = frozenset({"c", "n"})
_OF_COLUMN = frozenset({Shape.SET_IDENTITY, Shape.DROP_IDENTITY})


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """What may be known of the database that statements are for.

    Attributes:
        kin: Which of its objects hang together.
        measured: The lock map of its version.
    """

    kin: Kin
    measured: LockMap


@dataclass(frozen=True, kw_only=True, slots=True)
class SideLock:
    """A lock on a relation that the statement does not name.

    Attributes:
        relation: With its schema.
        mode: The lock.
        because: How it hangs on what the statement names: `foreign key orders_user_id_fkey`.
    """

    relation: RelationName
    mode: LockMode
    because: str

    def sentence(self) -> str:
        """`public.orders ACCESS EXCLUSIVE (foreign key orders_user_id_fkey)`."""
        return f"{self.relation} {self.mode} ({self.because})"


def side_locks(forecast: Forecast, around: Surroundings) -> tuple[SideLock, ...]:
    """What a statement locks besides what it names, the strongest of each relation, from SHARE UPDATE EXCLUSIVE on.

    Weaker locks hold up nothing but ACCESS EXCLUSIVE; those on indexes count where they say more than their table's.

    Args:
        forecast: What the text tells.
        around: The database before the statement.
    """
    kin, measured = around.kin, around.measured
    named = {_full(lock.relation, kin): lock.mode for lock in forecast.locks}
    found: dict[RelationName, SideLock] = {}
    for use in forecast.uses:
        for touched, mode in _locked(use, kin, measured):
            name = touched.relation.name
            strongest = max(named.get(name, mode), found[name].mode if name in found else mode, key=_strength)
            is_news = name not in found or mode.strength > found[name].mode.strength
            if is_news and (name not in named or mode.strength > named[name].strength) and mode is strongest:
                found[name] = SideLock(relation=name, mode=mode, because=touched.because)
    return tuple(one for _name, one in sorted(found.items()) if _counts(one, kin, named, found))


def with_locks(forecast: Forecast, side: Iterable[SideLock], kin: Kin) -> Forecast:
    """The forecast with what the catalogue adds; complete when the text left open nothing but that."""
    locks = (*forecast.locks, *(RelationLock(relation=one.relation, mode=one.mode) for one in side))
    known = bool(forecast.uses) and all(_is_known(use, kin) for use in forecast.uses)
    return replace(forecast, locks=strongest_of_each(locks), complete=forecast.complete or known)


def _strength(mode: LockMode) -> int:
    return mode.strength


def _full(name: RelationName, kin: Kin) -> RelationName:
    found = kin.find(name)
    return found.name if found is not None else name


def _is_known(use: Use, kin: Kin) -> bool:
    if not use.named:
        return use.member is not None and bool(_objects(use, kin))
    return all(kin.find(name) is not None for _role, name in use.named)


def _counts(one: SideLock, kin: Kin, named: dict[RelationName, LockMode], found: dict[RelationName, SideLock]) -> bool:
    relation = kin.find(one.relation)
    if relation is None or relation.index_of is None:
        return True
    table = kin.relations[relation.index_of].name
    modes = [modes[table] for modes in (named, {name: lock.mode for name, lock in found.items()}) if table in modes]
    return one.mode is LockMode.ACCESS_EXCLUSIVE and LockMode.ACCESS_EXCLUSIVE not in modes


def _locked(use: Use, kin: Kin, measured: LockMap) -> Iterator[tuple[Touched, LockMode]]:
    subject = kin.find(use.named[0][1]) if use.named else None
    if use.named and subject is None:
        return
    use, kind = _refined(use, subject, kin), kin.kind_of(subject) if subject else Kind.PLAIN
    for touched in _touched(use, subject, kin):
        mode = _mode(use.shape, touched.role, kind, measured)
        if mode is not None and mode.strength >= LockMode.SHARE_UPDATE_EXCLUSIVE.strength:
            yield touched, mode


def _mode(shape: Shape, role: Role, kind: Kind, measured: LockMap) -> LockMode | None:
    if shape is Shape.ALTER_TYPE:
        shape = _OTHER_END.get(role, shape)
    mode = measured.mode(shape, role, kind)
    if mode is not None or not _is_drop(shape):
        return mode
    # What a drop takes with it is locked as by the broadest drop that was measured.
    for broader in (Shape.DROP_TABLE_CASCADE, Shape.DROP_FUNCTION_CASCADE):
        for one in (kind, Kind.PARTITIONED, Kind.PARENT, Kind.PARTITION):
            mode = mode or measured.mode(broader, role, one)
    return mode


def _is_drop(shape: Shape) -> bool:
    return shape in _DROPS | _DROP_COLUMN | _DROP_CONSTRAINT or shape in _OBJECTS_ON_TABLES or shape in _DROP_OBJECTS


_DROP_OBJECTS = {Shape.DROP_DOMAIN_CASCADE: "pg_type", Shape.DROP_FUNCTION_CASCADE: "pg_proc"}


def _refined(use: Use, subject: Relation | None, kin: Kin) -> Use:
    """What the text leaves open and the catalogue tells: whether the constraint is a foreign key."""
    if subject is None or use.member is None or use.shape is not Shape.VALIDATE_CHECK:
        return use
    constraint = _constraint(subject, use.member.name, kin)
    return replace(use, shape=Shape.VALIDATE_FOREIGN_KEY) if constraint and constraint.kind == "f" else use


def _constraint(table: Relation, name: str, kin: Kin) -> OtherObject | None:
    found = kin.of_table("pg_constraint", table.oid)
    return next((one for one in found if one.name.name == name), None)


def _touched(use: Use, subject: Relation | None, kin: Kin) -> Iterator[Touched]:
    if subject is None:
        yield from _touched_by_object(use, kin)
        return
    below = () if use.only else tuple(kin.descendants(subject.oid))
    if _is_drop(use.shape):
        subjects = frozenset({subject.oid, *(one.oid for one in below)})
        starts = tuple(_starts(use, subject, below, kin))
        yield from touched_by_drop(kin, starts, subjects, cascade=use.cascade)
    if use.shape is Shape.ALTER_TYPE:
        yield from _keys_of_column(use, (subject, *below), kin)
    if use.shape in _OF_ONE_PARTITION:
        yield from _around_partition(use, subject, kin)
    elif use.shape not in _WITHOUT_CHILDREN and _reaches_below(use, subject, kin):
        yield from _below(subject, below)
    if use.shape is Shape.TRUNCATE_CASCADE:
        yield from _referencing(subject, kin)
    column = subject.columns.get(use.member.name, 0) if use.member and use.shape in _OF_COLUMN else 0
    if not _is_drop(use.shape):
        for sequence in kin.sequences(subject.oid, column):
            yield Touched(relation=sequence, role=Role.SEQUENCE, because=f"the sequence of {subject.name}")
    yield from _of_index(subject, kin)


def _starts(use: Use, subject: Relation, below: Iterable[Relation], kin: Kin) -> Iterator[ObjectId]:
    if use.shape in _DROPS:
        yield ObjectId("pg_class", subject.oid)
        return
    name = use.member.name if use.member else ""
    if use.shape in _DROP_COLUMN:
        for table in (subject, *below):
            if name in table.columns:
                yield ObjectId("pg_class", table.oid, table.columns[name])
        return
    catalogue = "pg_constraint" if use.shape in _DROP_CONSTRAINT else _OBJECTS_ON_TABLES.get(use.shape, "")
    for table in (subject, *below):
        for one in kin.of_table(catalogue, table.oid):
            if one.name.name == name and (table is subject or one.kind in _INHERITED):
                yield one.id


def _reaches_below(use: Use, subject: Relation, kin: Kin) -> bool:
    """Whether a statement about a constraint reaches the copies of its children."""
    by_name = {*_DROP_CONSTRAINT, Shape.RENAME_CONSTRAINT}
    if use.shape not in by_name or use.member is None:
        return True
    constraint = _constraint(subject, use.member.name, kin)
    return constraint is None or constraint.kind in _INHERITED or subject.kind == "p"


def _below(subject: Relation, below: Iterable[Relation]) -> Iterator[Touched]:
    for one in below:
        if one.oid == subject.default_partition:
            because = f"the default partition of {subject.name}"
            yield Touched(relation=one, role=Role.DEFAULT_PARTITION, because=because)
        elif one.is_partition:
            yield Touched(relation=one, role=Role.PARTITION, because=f"a partition of {subject.name}")
        else:
            yield Touched(relation=one, role=Role.CHILD, because=f"inherits from {subject.name}")


def _around_partition(use: Use, parent: Relation, kin: Kin) -> Iterator[Touched]:
    """The default partition, the partitions of the partition, and both sides of the parent's foreign keys."""
    yield from default_partition(kin, parent)
    for role, name in use.named[1:]:
        partition = kin.find(name)
        for one in kin.descendants(partition.oid) if partition else ():
            yield Touched(relation=one, role=role, because=f"a partition of {name}")
    for key in kin.of_table("pg_constraint", parent.oid):
        if key.kind == "f" and key.other in kin.relations:
            because = f"foreign key {key.name.name}"
            yield Touched(relation=kin.relations[key.other], role=Role.REFERENCED, because=because)
    yield from _referencing(parent, kin, recursive=False)


def _referencing(table: Relation, kin: Kin, *, recursive: bool = True) -> Iterator[Touched]:
    seen = {table.oid}
    waiting = [table.oid]
    while waiting:
        for key in kin.references_to(waiting.pop(0)):
            if key.table in seen or key.table not in kin.relations:
                continue
            seen.add(key.table)
            because = f"foreign key {key.name.name}"
            yield Touched(relation=kin.relations[key.table], role=Role.REFERENCING, because=because)
            if recursive:
                waiting.append(key.table)
                for one in kin.descendants(key.table):
                    yield Touched(relation=one, role=Role.REFERENCING, because=because)


def _keys_of_column(use: Use, tables: Iterable[Relation], kin: Kin) -> Iterator[Touched]:
    """A foreign key on a column, or to it, is dropped and made again when the column gets another type."""
    tables = tuple(tables)
    subjects = frozenset(one.oid for one in tables)
    for table in tables:
        number = table.columns.get(use.member.name if use.member else "", 0)
        for dependent, _how in kin.dependents(ObjectId("pg_class", table.oid, number)) if number else ():
            found = kin.objects.get(dependent)
            if found is not None and found.kind == "f":
                yield from touched_by_drop(kin, [dependent], subjects, cascade=False)


def _of_index(subject: Relation, kin: Kin) -> Iterator[Touched]:
    if subject.index_of is not None:
        table = kin.relations[subject.index_of]
        yield Touched(relation=table, role=Role.TABLE, because=f"the table of the index {subject.name.name}")
        return
    for index in kin.indexes(subject.oid):
        yield Touched(relation=index, role=Role.INDEX, because=f"an index of {subject.name}")


def _touched_by_object(use: Use, kin: Kin) -> Iterator[Touched]:
    """A type or a function: the tables that use it."""
    found = _objects(use, kin)
    if use.shape in _DROP_OBJECTS:
        yield from touched_by_drop(kin, found, frozenset(), cascade=use.cascade)
        return
    seen: set[ObjectId] = set()
    waiting = list(found)
    while waiting:
        for dependent, _how in kin.dependents(waiting.pop(0)):
            relation = kin.relations.get(dependent.oid) if dependent.catalogue == "pg_class" else None
            if relation is not None and relation.kind in {"r", "p", "f", "m"} and dependent.column:
                yield Touched(relation=relation, role=Role.USER, because=f"has columns of {use.member}")
            elif dependent.catalogue == "pg_type" and dependent not in seen:
                seen.add(dependent)
                waiting.append(dependent)


def _objects(use: Use, kin: Kin) -> tuple[ObjectId, ...]:
    catalogue = _DROP_OBJECTS.get(use.shape, "pg_type")
    return kin.find_objects(catalogue, use.member) if use.member is not None else ()
