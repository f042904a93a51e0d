"""Which objects of a database hang together, as its catalogue has them; read once, asked for every statement. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from squizzle.analysis.locks.records import RelationName
from squizzle.analysis.locks.shapes import Kind


class ObjectId(NamedTuple):
    """An object as pg_depend has it: catalogue, OID, and the number of a column (0 for the whole object)."""

    catalogue: str
    oid: int
    column: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Relation:
    """One relation.

    Attributes:
        oid: Its OID.
        name: With its schema.
        kind: As in pg_class.relkind.
        is_partition: Whether it is one.
        index_of: The table of an index; None for what is none.
        default_partition: Of a partitioned table; None for none.
        columns: The number of each column by its name.
    """

    oid: int
    name: RelationName
    kind: str
    is_partition: bool = False
    index_of: int | None = None
    default_partition: int | None = None
    columns: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_index(self) -> bool:
        """Whether it is an index."""
        return self.index_of is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class OtherObject:
    """A constraint, trigger, rule, policy, default, statistics object, type or function.

    Attributes:
        id: Which.
        name: Its name; with a schema for types and functions.
        table: The table that it is of; 0 for none.
        other: The table that a foreign key refers to; 0 for none.
        kind: Of a constraint, as in pg_constraint.contype.
    """

    id: ObjectId
    name: RelationName
    table: int = 0
    other: int = 0
    kind: str = ""


class Kin:
    """What hangs together.

    Args:
        relations: All tables, views, sequences and indexes.
        objects: What hangs on them.
        links: The dependent object, what it depends on, and `deptype` of pg_depend.
        parents: Child and parent, of partitions and of inheritance.
        path: The schemas in which names without one are looked for.
    """

    def __init__(
        self,
        *,
        relations: Iterable[Relation],
        objects: Iterable[OtherObject],
        links: Iterable[tuple[ObjectId, ObjectId, str]],
        parents: Iterable[tuple[int, int]],
        path: Sequence[str],
    ) -> None:
        self.relations = {one.oid: one for one in relations}
        self.objects = {one.id: one for one in objects}
        self._path = tuple(path)
        self._by_name = {one.name: one.oid for one in self.relations.values()}
        self._indexes: dict[int, list[Relation]] = {}
        for relation in self.relations.values():
            if relation.index_of is not None:
                self._indexes.setdefault(relation.index_of, []).append(relation)
        self._named_objects: dict[tuple[str, RelationName], list[ObjectId]] = {}
        self._of_table: dict[tuple[str, int], list[OtherObject]] = {}
        for one in self.objects.values():
            self._named_objects.setdefault((one.id.catalogue, one.name), []).append(one.id)
            self._of_table.setdefault((one.id.catalogue, one.table), []).append(one)
            if one.other:
                self._of_table.setdefault(("referenced", one.other), []).append(one)
        self._children: dict[int, list[int]] = {}
        self._parents: dict[int, list[int]] = {}
        for child, parent in parents:
            self._children.setdefault(parent, []).append(child)
            self._parents.setdefault(child, []).append(parent)
        self._dependents: dict[tuple[str, int], list[tuple[int, ObjectId, str]]] = {}
        self._owners: dict[ObjectId, list[ObjectId]] = {}
        for dependent, on, how in links:
            self._dependents.setdefault((on.catalogue, on.oid), []).append((on.column, dependent, how))
            if how == "i":
                self._owners.setdefault(dependent, []).append(on)

    def find(self, name: RelationName) -> Relation | None:
        """The relation that a statement means by a name; None when there is none (yet)."""
        for schema in (name.schema,) if name.schema else self._path:
            oid = self._by_name.get(RelationName(schema=schema, name=name.name))
            if oid is not None:
                return self.relations[oid]
        return None

    def find_objects(self, catalogue: str, name: RelationName) -> tuple[ObjectId, ...]:
        """The types or functions that a statement can mean by a name."""
        for schema in (name.schema,) if name.schema else self._path:
            found = self._named_objects.get((catalogue, RelationName(schema=schema, name=name.name)))
            if found:
                return tuple(found)
        return ()

    def kind_of(self, relation: Relation) -> Kind:
        """Which kind of table it is to the lock map."""
        if relation.kind in {"p", "I"}:
            return Kind.PARTITIONED
        if relation.is_partition:
            return Kind.PARTITION
        if relation.oid in self._children:
            return Kind.PARENT
        return Kind.CHILD if relation.oid in self._parents else Kind.PLAIN

    def descendants(self, oid: int) -> Iterator[Relation]:
        """Children and partitions, theirs included; each once."""
        seen: set[int] = set()
        waiting = list(self._children.get(oid, ()))
        while waiting:
            one = waiting.pop(0)
            if one not in seen:
                seen.add(one)
                waiting += self._children.get(one, ())
                if one in self.relations:
                    yield self.relations[one]

    def parents(self, oid: int) -> tuple[Relation, ...]:
        """The tables that it is a partition or child of."""
        return tuple(self.relations[one] for one in self._parents.get(oid, ()) if one in self.relations)

    def of_table(self, catalogue: str, oid: int) -> Sequence[OtherObject]:
        """The constraints, triggers … of a table."""
        return self._of_table.get((catalogue, oid), ())

    def references_to(self, oid: int) -> Sequence[OtherObject]:
        """The foreign keys that refer to a table."""
        return self._of_table.get(("referenced", oid), ())

    def indexes(self, oid: int) -> Iterator[Relation]:
        """The indexes of a table."""
        return iter(self._indexes.get(oid, ()))

    def sequences(self, oid: int, column: int = 0) -> Iterator[Relation]:
        """The sequences that a table, or one of its columns, owns."""
        for owned, dependent, how in self._dependents.get(("pg_class", oid), ()):
            relation = self.relations.get(dependent.oid) if dependent.catalogue == "pg_class" else None
            if relation is not None and relation.kind == "S" and how in {"a", "i"} and column in {0, owned}:
                yield relation

    def dependents(self, on: ObjectId) -> Iterator[tuple[ObjectId, str]]:
        """What depends on an object, its columns included, and how."""
        for column, dependent, how in self._dependents.get((on.catalogue, on.oid), ()):
            if on.column in {0, column}:
                yield dependent, how

    def owners(self, dependent: ObjectId) -> Sequence[ObjectId]:
        """What an object is a part of: the view of a rule, the constraint of an index."""
        return self._owners.get(dependent, ())
