"""What is dropped together with an object, as PostgreSQL's `findDependentObjects` finds it (dependency.c). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from squizzle.analysis.locks.kin import Kin, ObjectId, OtherObject, Relation
from squizzle.analysis.locks.shapes import Role

# What goes without CASCADE: parts of the dropped object.
_PARTS = frozenset({"a", "i", "P", "S", "x"})
_RELATION_ROLES = {"v": Role.VIEW, "m": Role.MATERIALIZED_VIEW, "S": Role.SEQUENCE, "i": Role.INDEX, "I": Role.INDEX}
_GOES = {
    Role.VIEW: "the view goes with it",
    Role.MATERIALIZED_VIEW: "the materialized view goes with it",
    Role.SEQUENCE: "its sequence",
    Role.INDEX: "its index",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Touched:
    """A relation that a statement has to lock besides those that it names.

    Attributes:
        relation: Which.
        role: What it is to the statement.
        because: Why, in a few words: `foreign key orders_user_id_fkey`.
    """

    relation: Relation
    role: Role
    because: str


def touched_by_drop(
    kin: Kin, starts: Iterable[ObjectId], subjects: frozenset[int], *, cascade: bool
) -> Iterator[Touched]:
    """The relations that are locked when some objects are dropped.

    Args:
        kin: What hangs together.
        starts: What is dropped.
        subjects: The tables that the statement is about, children included: foreign keys lead away from them.
        cascade: Whether what depends on them is dropped as well.
    """
    seen: set[ObjectId] = set()
    waiting = list(starts)
    while waiting:
        one = waiting.pop(0)
        if one in seen or ObjectId(one.catalogue, one.oid) in seen:
            continue
        seen.add(one)
        yield from _locked_for(kin, one, subjects)
        waiting += [dependent for dependent, how in kin.dependents(one) if cascade or how in _PARTS]
        # A rule is a part of its view, an index of its constraint: the whole goes, not the part alone.
        waiting += [owner for owner in kin.owners(one) if owner.column == 0 and owner not in seen]


def _locked_for(kin: Kin, one: ObjectId, subjects: frozenset[int]) -> Iterator[Touched]:
    if one.catalogue == "pg_class":
        relation = kin.relations.get(one.oid)
        if relation is not None:
            yield from _column(relation, one.column) if one.column else _relation(kin, relation)
        return
    found = kin.objects.get(one)
    if found is None or not found.table:
        return
    key = next((kin.objects[owner] for owner in (one, *kin.owners(one)) if _is_foreign_key(kin, owner)), None)
    if key is not None:
        yield from _end_of_key(kin, key, found.table, subjects)
    else:
        table = kin.relations.get(found.table)
        if table is not None:
            role = _role_of_holder(one, table)
            yield Touched(relation=table, role=role, because=_GOES.get(role) or _words(kin, found))


def _relation(kin: Kin, relation: Relation) -> Iterator[Touched]:
    role = _RELATION_ROLES.get(relation.kind)
    if role is not None:
        yield Touched(relation=relation, role=role, because=_GOES[role])
        if relation.index_of in kin.relations:
            yield _table_of_index(kin, relation)
        return
    parents = kin.parents(relation.oid)
    role = (Role.PARTITION if relation.is_partition else Role.CHILD) if parents else Role.USER
    because = f"goes with {parents[0].name}" if parents else "goes with it"
    yield Touched(relation=relation, role=role, because=because)
    if relation.is_partition:
        for parent in parents:
            yield Touched(relation=parent, role=Role.PARENT, because=f"{relation.name} is its partition")
            yield from default_partition(kin, parent)


def _table_of_index(kin: Kin, index: Relation) -> Touched:
    table = kin.relations[index.index_of or 0]
    role = Role.PARTITION if table.is_partition else Role.TABLE
    return Touched(relation=table, role=role, because=f"the table of the index {index.name.name}")


def default_partition(kin: Kin, parent: Relation) -> Iterator[Touched]:
    """The default partition of a partitioned table, which holds what fits no other."""
    found = kin.relations.get(parent.default_partition or 0)
    if found is not None:
        because = f"the default partition of {parent.name}"
        yield Touched(relation=found, role=Role.DEFAULT_PARTITION, because=because)


def _column(relation: Relation, number: int) -> Iterator[Touched]:
    name = next((name for name, found in relation.columns.items() if found == number), str(number))
    yield Touched(relation=relation, role=Role.USER, because=f"column {name}")


def _is_foreign_key(kin: Kin, one: ObjectId) -> bool:
    return one in kin.objects and kin.objects[one].kind == "f"


def _end_of_key(kin: Kin, key: OtherObject, table: int, subjects: frozenset[int]) -> Iterator[Touched]:
    """The constraint is on one table, and the triggers that watch over it are on both ends: they go with it."""
    if table not in subjects and table in kin.relations:
        role = Role.REFERENCING if table == key.table else Role.REFERENCED
        yield Touched(relation=kin.relations[table], role=role, because=f"foreign key {key.name.name}")


def _role_of_holder(one: ObjectId, table: Relation) -> Role:
    if one.catalogue == "pg_policy":
        return Role.READER
    if one.catalogue == "pg_rewrite" and table.kind in _RELATION_ROLES:
        return _RELATION_ROLES[table.kind]
    return Role.PARTITION if table.is_partition and one.catalogue == "pg_trigger" else Role.USER


def _words(kin: Kin, found: OtherObject) -> str:
    name = found.name.name
    match found.id.catalogue:
        case "pg_attrdef":
            columns = kin.relations[found.table].columns
            return f"default of column {next((one for one, at in columns.items() if str(at) == name), name)}"
        case "pg_rewrite":
            return f"rule {name}"
        case "pg_statistic_ext":
            return f"statistics {name}"
    return f"{found.id.catalogue.removeprefix('pg_')} {name}"
