"""CREATE TABLE and ALTER TABLE as actions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from postgast import pg_query_pb2 as pg

from squizzle.analysis.actions import (
    Action,
    AddColumn,
    AddConstraint,
    AlterColumnType,
    AlterTable,
    AttachPartition,
    CreateTable,
    DetachPartition,
    DropColumn,
    DropConstraint,
    SetNotNull,
    SetStorageOptions,
    ValidateConstraint,
)
from squizzle.analysis.grammar import Tree
from squizzle.analysis.locks.records import RelationName
from squizzle.analysis.locks.tree import name_of
from squizzle.analysis.reduce.columns import column_of, constraint_of, is_constraint, text_of, type_of
from squizzle.analysis.reduce.kinds import kind_of
from squizzle.analysis.reduce.rows import query_in


def create_table(tree: Tree) -> Iterator[Action]:
    """CREATE TABLE."""
    elements = tree.table_elts
    constraints = [one.constraint for one in elements if one.HasField("constraint")]
    yield CreateTable(
        table=name_of(tree.relation),
        columns=tuple(column_of(one.column_def) for one in elements if one.HasField("column_def")),
        constraints=tuple(constraint_of(one) for one in constraints if is_constraint(one)),
        parents=tuple(name_of(one.range_var) for one in tree.inh_relations),
        is_partition=tree.HasField("partbound"),
        is_partitioned=tree.HasField("partspec"),
        is_unlogged=tree.relation.relpersistence == "u",
        copies_others=any(one.HasField("table_like_clause") for one in elements),
        is_temporary=tree.relation.relpersistence == "t",
        if_not_exists=tree.if_not_exists,
        location=tree.relation.location,
    )


def create_table_as(tree: Tree) -> Iterator[Action]:
    """CREATE TABLE … AS; a materialized view is one, too, to PostgreSQL."""
    relation = tree.into.rel
    yield CreateTable(
        table=name_of(relation),
        is_unlogged=relation.relpersistence == "u",
        is_temporary=relation.relpersistence == "t",
        if_not_exists=tree.if_not_exists,
        from_query=True,
        location=relation.location,
    )
    yield from query_in(tree.query)


def alter_table(tree: Tree) -> Iterator[Action]:
    """Each command of ALTER TABLE, VIEW, INDEX, SEQUENCE …."""
    table = name_of(tree.relation)
    for one in tree.cmds:
        command = one.alter_table_cmd
        reader = _READERS.get(command.subtype) if tree.objtype != pg.OBJECT_TYPE else None
        definition = getattr(command, "def")
        if command.subtype in _OPTIONS:
            is_index = tree.objtype == pg.OBJECT_INDEX
            yield SetStorageOptions(table=table, options=_options(definition), is_index=is_index)
        elif reader is not None:
            yield reader(table, command, definition)
        else:
            name = pg.AlterTableType.Name(command.subtype).removeprefix("AT_")
            yield AlterTable(
                table=table,
                command=name,
                column=command.name,
                kind=kind_of(tree.objtype),
                value=_value(command.subtype, definition),
                location=tree.relation.location,
            )


_REPLICA_IDENTITIES = {"n": "nothing", "f": "full", "d": "default", "i": "index"}


def _value(command: int, definition: Tree) -> str:
    if command == pg.AT_ColumnDefault:
        return text_of(definition) if definition.WhichOneof("node") else ""
    if command == pg.AT_ReplicaIdentity:
        return _REPLICA_IDENTITIES[definition.replica_identity_stmt.identity_type]
    if command == pg.AT_AddIdentity:
        return _identity(definition.constraint.generated_when)
    if command == pg.AT_SetIdentity:
        options = (item.def_elem for item in definition.list.items)
        return next((_identity(chr(one.arg.integer.ival)) for one in options if one.defname == "generated"), "")
    return ""


def _identity(letter: str) -> str:
    return "always" if letter == "a" else "default"


_OPTIONS = frozenset({pg.AT_SetRelOptions, pg.AT_ResetRelOptions})


def _options(definition: Tree) -> tuple[tuple[str, str], ...]:
    return tuple((_option_name(item.def_elem), _option_value(item.def_elem)) for item in definition.list.items)


def _option_name(element: Tree) -> str:
    return f"{element.defnamespace}.{element.defname}" if element.defnamespace else str(element.defname)


def _option_value(element: Tree) -> str:
    argument = element.arg
    kind = argument.WhichOneof("node")
    if kind == "integer":
        return str(argument.integer.ival)
    if kind == "float":
        return str(argument.float.fval)
    if kind == "boolean":
        return "true" if argument.boolean.boolval else "false"
    if kind == "type_name":
        return type_of(argument.type_name).name
    return str(argument.string.sval) if kind == "string" else ""


def _add_column(table: RelationName, command: Tree, definition: Tree) -> Action:
    column = column_of(definition.column_def, quote=True)
    return AddColumn(table=table, column=column, if_not_exists=command.missing_ok, location=column.location)


def _drop_column(table: RelationName, command: Tree, _definition: Tree) -> Action:
    return DropColumn(table=table, column=command.name, cascade=command.behavior == pg.DROP_CASCADE)


def _alter_type(table: RelationName, command: Tree, definition: Tree) -> Action:
    column = definition.column_def
    return AlterColumnType(
        table=table,
        column=command.name,
        type=type_of(column.type_name),
        has_using=column.HasField("raw_default"),
        has_collation=column.HasField("coll_clause"),
        location=column.location,
    )


def _set_not_null(table: RelationName, command: Tree, _definition: Tree) -> Action:
    return SetNotNull(table=table, column=command.name)


def _add_constraint(table: RelationName, _command: Tree, definition: Tree) -> Action:
    constraint = definition.constraint
    return AddConstraint(table=table, constraint=constraint_of(constraint, quote=True), location=constraint.location)


def _validate(table: RelationName, command: Tree, _definition: Tree) -> Action:
    return ValidateConstraint(table=table, name=command.name)


def _drop_constraint(table: RelationName, command: Tree, _definition: Tree) -> Action:
    return DropConstraint(table=table, name=command.name, cascade=command.behavior == pg.DROP_CASCADE)


def _attach(table: RelationName, _command: Tree, definition: Tree) -> Action:
    return AttachPartition(table=table, partition=name_of(definition.partition_cmd.name))


def _detach(table: RelationName, _command: Tree, definition: Tree) -> Action:
    command = definition.partition_cmd
    return DetachPartition(table=table, partition=name_of(command.name), concurrently=command.concurrent)


_READERS: Mapping[int, Callable[[RelationName, Tree, Tree], Action]] = {
    pg.AT_AddColumn: _add_column,
    pg.AT_DropColumn: _drop_column,
    pg.AT_AlterColumnType: _alter_type,
    pg.AT_SetNotNull: _set_not_null,
    pg.AT_AddConstraint: _add_constraint,
    pg.AT_ValidateConstraint: _validate,
    pg.AT_DropConstraint: _drop_constraint,
    pg.AT_AttachPartition: _attach,
    pg.AT_DetachPartition: _detach,
}
