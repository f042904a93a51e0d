"""What scripts tell about the tables that they made: types, constraints, indexes, partitions.

A rule that has to know what a column was before learns it from the project's own earlier scripts, without a database.
What they do not tell stays unknown, and a rule says so. Names are taken as PostgreSQL gives them to what has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from squizzle.analysis import actions as a
from squizzle.analysis.columns import Column, Constraint, ConstraintKind, TypeName
from squizzle.analysis.locks.records import RelationName, RelationSet

_SUFFIXES = {
    ConstraintKind.CHECK: "check",
    ConstraintKind.FOREIGN_KEY: "fkey",
    ConstraintKind.UNIQUE: "key",
    ConstraintKind.EXCLUDE: "excl",
    ConstraintKind.NOT_NULL: "not_null",
}


@dataclass(kw_only=True, slots=True)
class Table:
    """What is known of one table; it grows with every script.

    Attributes:
        created: Whether its CREATE TABLE was seen, so that what is not known is not there.
        columns: By name.
        constraints: By name.
        indexes: The columns of each index, by its name.
        policies: Names of its row-level policies.
        is_partitioned: Whether it has partitions.
        parent: The table that it is a partition of.
    """

    created: bool = False
    columns: dict[str, Column] = field(default_factory=dict)
    constraints: dict[str, Constraint] = field(default_factory=dict)
    indexes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    policies: set[str] = field(default_factory=set)
    is_partitioned: bool = False
    parent: RelationName | None = None

    def type_of(self, column: str) -> TypeName | None:
        """A column's type."""
        found = self.columns.get(column)
        return found.type if found is not None and found.type.name else None

    def is_not_null(self, column: str) -> bool:
        """Whether a valid constraint is known to keep a column from being null."""
        found = self.columns.get(column)
        return (found is not None and found.not_null) or any(
            column in one.proves_not_null and one.validated for one in self.constraints.values()
        )

    def leads_an_index(self, column: str) -> bool:
        """Whether an index begins with a column."""
        keyed = (one.columns for one in self.constraints.values() if one.kind in _WITH_INDEX)
        return any(columns[:1] == (column,) for columns in (*self.indexes.values(), *keyed))

    @property
    def has_primary_key(self) -> bool:
        """Whether a primary key is known."""
        return any(one.kind is ConstraintKind.PRIMARY_KEY for one in self.constraints.values())


_WITH_INDEX = frozenset({ConstraintKind.UNIQUE, ConstraintKind.PRIMARY_KEY, ConstraintKind.EXCLUDE})
_NOTHING = Table()


class Known:
    """What is known of all tables."""

    def __init__(self) -> None:
        self._tables: dict[str, dict[str, Table]] = {}
        self._views = RelationSet()
        self._index_tables: dict[str, RelationName] = {}

    def table(self, relation: RelationName) -> Table:
        """What is known of a table; an empty record for one that no script told about."""
        return self._found(relation) or _NOTHING

    def partitions_of(self, relation: RelationName) -> tuple[RelationName, ...]:
        """The partitions of a table, in the order in which they were made."""
        return tuple(
            RelationName(schema=schema, name=name)
            for name, schemas in self._tables.items()
            for schema, table in schemas.items()
            if table.parent is not None and table.parent.may_be(relation)
        )

    def has_view(self, relation: RelationName) -> bool:
        """Whether a view of that name was made."""
        return relation in self._views

    def table_of(self, relation: RelationName) -> RelationName:
        """The table of an index; any other relation as it is."""
        table = self._index_tables.get(relation.name)
        return table if table is not None and relation.name in self.table(table).indexes else relation

    def learn(self, actions: Iterable[a.Action]) -> None:
        """Take in what a statement did."""
        for action in actions:
            reader = _LEARN.get(type(action))
            if reader is not None:
                reader(self, action)

    def _found(self, relation: RelationName) -> Table | None:
        schemas = self._tables.get(relation.name, {})
        if relation.schema in schemas:
            return schemas[relation.schema]
        if not relation.schema:
            return next(iter(schemas.values())) if len(schemas) == 1 else None
        return schemas.get("")

    def _changed(self, relation: RelationName) -> Table:
        found = self._found(relation)
        if found is None:
            found = self._tables.setdefault(relation.name, {})[relation.schema] = Table()
        return found

    def _forget(self, relation: RelationName) -> Table | None:
        schemas = self._tables.get(relation.name, {})
        schema = relation.schema if relation.schema in schemas or len(schemas) != 1 else next(iter(schemas))
        return schemas.pop(schema, None)

    def create_table(self, action: a.CreateTable) -> None:
        """CREATE TABLE."""
        if action.if_not_exists and self._found(action.table) is not None:
            return
        schemas = self._tables.setdefault(action.table.name, {})
        made = schemas[action.table.schema] = Table(created=not action.from_query, is_partitioned=action.is_partitioned)
        made.parent = action.parents[0] if action.is_partition and action.parents else None
        for column in action.columns:
            self._take_column(action.table.name, made, column)
        for constraint in action.constraints:
            self._take_constraint(action.table.name, made, constraint)

    def add_column(self, action: a.AddColumn) -> None:
        """ADD COLUMN."""
        self._take_column(action.table.name, self._changed(action.table), action.column)

    def _take_column(self, table_name: str, table: Table, column: Column) -> None:
        table.columns[column.name] = column
        for constraint in column.constraints:
            self._take_constraint(table_name, table, constraint)

    def _take_constraint(self, table_name: str, table: Table, constraint: Constraint) -> None:
        columns = table.indexes.get(constraint.index, constraint.columns) if constraint.index else constraint.columns
        name = constraint.name or constraint.index or _name(table_name, constraint)
        table.constraints[name] = constraint if columns == constraint.columns else replace(constraint, columns=columns)
        if constraint.kind in {ConstraintKind.PRIMARY_KEY, ConstraintKind.NOT_NULL} and constraint.validated:
            for column in columns:
                _set_not_null(table, column, not_null=True)

    def drop_column(self, action: a.DropColumn) -> None:
        """DROP COLUMN, and what is about the column."""
        table = self._changed(action.table)
        table.columns.pop(action.column, None)
        table.indexes = {name: columns for name, columns in table.indexes.items() if action.column not in columns}
        kept = {name: one for name, one in table.constraints.items() if action.column not in one.columns}
        table.constraints = kept

    def alter_type(self, action: a.AlterColumnType) -> None:
        """ALTER COLUMN … TYPE."""
        table = self._changed(action.table)
        before = table.columns.get(action.column, Column(name=action.column, type=action.type))
        table.columns[action.column] = replace(before, type=action.type)

    def set_not_null(self, action: a.SetNotNull) -> None:
        """SET NOT NULL."""
        _set_not_null(self._changed(action.table), action.column, not_null=True)

    def alter_table(self, action: a.AlterTable) -> None:
        """DROP NOT NULL."""
        if action.command == "DropNotNull":
            _set_not_null(self._changed(action.table), action.column, not_null=False)

    def add_constraint(self, action: a.AddConstraint) -> None:
        """ADD CONSTRAINT."""
        self._take_constraint(action.table.name, self._changed(action.table), action.constraint)

    def validate(self, action: a.ValidateConstraint) -> None:
        """VALIDATE CONSTRAINT."""
        table = self._changed(action.table)
        if action.name in table.constraints:
            table.constraints[action.name] = replace(table.constraints[action.name], validated=True)

    def drop_constraint(self, action: a.DropConstraint) -> None:
        """DROP CONSTRAINT."""
        self._changed(action.table).constraints.pop(action.name, None)

    def create_index(self, action: a.CreateIndex) -> None:
        """CREATE INDEX."""
        name = action.index or f"{action.table.name}_{'_'.join(column or 'expr' for column in action.columns)}_idx"
        self._changed(action.table).indexes[name] = action.columns
        self._index_tables[name] = action.table

    def create(self, action: a.Create) -> None:
        """CREATE POLICY, CREATE VIEW."""
        if action.kind == "VIEW":
            self._views.update([action.name])
        if action.kind == "POLICY" and action.table is not None:
            self._changed(action.table).policies.add(action.name.name)

    def drop(self, action: a.Drop) -> None:
        """DROP TABLE, INDEX, POLICY."""
        for name in action.names:
            if action.kind == "TABLE":
                self._forget(name)
            elif action.kind == "POLICY":
                self._changed(name).policies.difference_update(action.parts)
            elif action.kind == "INDEX":
                table = self._index_tables.pop(name.name, None)
                if table is not None:
                    self._changed(table).indexes.pop(name.name, None)

    def rename(self, action: a.Rename) -> None:
        """RENAME of a table, a column or a constraint."""
        if action.kind == "TABLE":
            table = self._forget(action.name)
            if table is not None:
                self._tables.setdefault(action.new_name, {})[action.name.schema] = table
        elif action.kind in {"COLUMN", "CONSTRAINT"}:
            table = self._changed(action.name)
            for named in (table.columns, table.constraints):
                _rename_key(named, action.part, action.new_name)

    def set_schema(self, action: a.SetSchema) -> None:
        """SET SCHEMA of a table."""
        table = self._forget(action.name)
        if table is not None:
            self._tables.setdefault(action.name.name, {})[action.new_schema] = table

    def attach(self, action: a.AttachPartition) -> None:
        """ATTACH PARTITION."""
        self._changed(action.table).is_partitioned = True
        self._changed(action.partition).parent = action.table

    def detach(self, action: a.DetachPartition) -> None:
        """DETACH PARTITION."""
        self._changed(action.partition).parent = None


def _set_not_null(table: Table, column: str, *, not_null: bool) -> None:
    before = table.columns.get(column, Column(name=column, type=TypeName(name="")))
    # Most of a CREATE TABLE has been said already, and a record is not copied for nothing.
    table.columns[column] = before if before.not_null == not_null else replace(before, not_null=not_null)


def _rename_key(named: dict[str, Any], before: str, after: str) -> None:
    if before in named:
        named[after] = named.pop(before)


def _name(table: str, constraint: Constraint) -> str:
    """The name that PostgreSQL gives (indexcmds.c, ChooseIndexName)."""
    if constraint.kind is ConstraintKind.PRIMARY_KEY:
        return f"{table}_pkey"
    return "_".join([table, *constraint.columns, _SUFFIXES[constraint.kind]])


_LEARN: Mapping[type[a.Action], Callable[[Known, Any], None]] = {
    a.CreateTable: Known.create_table,
    a.AddColumn: Known.add_column,
    a.DropColumn: Known.drop_column,
    a.AlterColumnType: Known.alter_type,
    a.SetNotNull: Known.set_not_null,
    a.AlterTable: Known.alter_table,
    a.AddConstraint: Known.add_constraint,
    a.ValidateConstraint: Known.validate,
    a.DropConstraint: Known.drop_constraint,
    a.CreateIndex: Known.create_index,
    a.Create: Known.create,
    a.Drop: Known.drop,
    a.Rename: Known.rename,
    a.SetSchema: Known.set_schema,
    a.AttachPartition: Known.attach,
    a.DetachPartition: Known.detach,
}
