"""ALTER TABLE, VIEW, INDEX …: the shapes of its commands in the lock map."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from postgast import pg_query_pb2 as pg

from squizzle.analysis.grammar import Tree
from squizzle.analysis.locks.records import Effect, RelationName, Use
from squizzle.analysis.locks.shapes import Role, Shape
from squizzle.analysis.locks.tree import name_of

_SHAPES: Mapping[int, Shape] = {
    pg.AT_ColumnDefault: Shape.SET_DEFAULT,
    pg.AT_SetNotNull: Shape.SET_NOT_NULL,
    pg.AT_DropNotNull: Shape.DROP_NOT_NULL,
    pg.AT_SetExpression: Shape.SET_EXPRESSION,
    pg.AT_DropExpression: Shape.DROP_EXPRESSION,
    pg.AT_SetStatistics: Shape.SET_STATISTICS,
    pg.AT_SetOptions: Shape.SET_COLUMN_OPTIONS,
    pg.AT_ResetOptions: Shape.SET_COLUMN_OPTIONS,
    pg.AT_SetStorage: Shape.SET_STORAGE,
    pg.AT_SetCompression: Shape.SET_COMPRESSION,
    pg.AT_AddIdentity: Shape.ADD_IDENTITY,
    pg.AT_SetIdentity: Shape.SET_IDENTITY,
    pg.AT_DropIdentity: Shape.DROP_IDENTITY,
    pg.AT_AlterColumnType: Shape.ALTER_TYPE,
    pg.AT_AlterConstraint: Shape.ALTER_CONSTRAINT,
    # Whether the constraint is a CHECK or a foreign key the text does not say; the lock on the table is the same.
    pg.AT_ValidateConstraint: Shape.VALIDATE_CHECK,
    pg.AT_ChangeOwner: Shape.SET_OWNER,
    pg.AT_ClusterOn: Shape.CLUSTER_ON,
    pg.AT_DropCluster: Shape.WITHOUT_CLUSTER,
    pg.AT_SetLogged: Shape.SET_UNLOGGED,
    pg.AT_SetUnLogged: Shape.SET_UNLOGGED,
    pg.AT_SetAccessMethod: Shape.SET_ACCESS_METHOD,
    pg.AT_SetTableSpace: Shape.SET_TABLESPACE,
    pg.AT_ReplicaIdentity: Shape.REPLICA_IDENTITY,
    pg.AT_EnableRowSecurity: Shape.ROW_SECURITY,
    pg.AT_DisableRowSecurity: Shape.ROW_SECURITY,
    pg.AT_ForceRowSecurity: Shape.ROW_SECURITY,
    pg.AT_NoForceRowSecurity: Shape.ROW_SECURITY,
    pg.AT_EnableTrig: Shape.SWITCH_TRIGGER,
    pg.AT_EnableAlwaysTrig: Shape.SWITCH_TRIGGER,
    pg.AT_EnableReplicaTrig: Shape.SWITCH_TRIGGER,
    pg.AT_EnableTrigAll: Shape.SWITCH_TRIGGER,
    pg.AT_EnableTrigUser: Shape.SWITCH_TRIGGER,
    pg.AT_DisableTrig: Shape.SWITCH_TRIGGER,
    pg.AT_DisableTrigAll: Shape.SWITCH_TRIGGER,
    pg.AT_DisableTrigUser: Shape.SWITCH_TRIGGER,
    pg.AT_EnableRule: Shape.SWITCH_RULE,
    pg.AT_EnableAlwaysRule: Shape.SWITCH_RULE,
    pg.AT_EnableReplicaRule: Shape.SWITCH_RULE,
    pg.AT_DisableRule: Shape.SWITCH_RULE,
    pg.AT_AddInherit: Shape.INHERIT,
    pg.AT_DropInherit: Shape.NO_INHERIT,
    pg.AT_AttachPartition: Shape.ATTACH_PARTITION,
    pg.AT_DetachPartitionFinalize: Shape.DETACH_PARTITION_FINALIZE,
}
_DROPS = {
    pg.AT_DropColumn: (Shape.DROP_COLUMN, Shape.DROP_COLUMN_CASCADE),
    pg.AT_DropConstraint: (Shape.DROP_CONSTRAINT, Shape.DROP_CONSTRAINT_CASCADE),
}
_OPTIONS = frozenset({pg.AT_SetRelOptions, pg.AT_ResetRelOptions})
# Storage options of tables that need ACCESS EXCLUSIVE, and those of indexes that do not (reloptions.c).
_STRONG_TABLE_OPTIONS = frozenset({"user_catalog_table", "security_barrier", "security_invoker", "check_option"})
_WEAK_INDEX_OPTIONS = frozenset({"fillfactor", "deduplicate_items"})
_CONSTRAINTS = {
    pg.CONSTR_CHECK: (Shape.ADD_CHECK, Shape.ADD_CHECK_NOT_VALID),
    pg.CONSTR_NOTNULL: (Shape.ADD_NOT_NULL, Shape.ADD_NOT_NULL_NOT_VALID),
    pg.CONSTR_FOREIGN: (Shape.ADD_FOREIGN_KEY, Shape.ADD_FOREIGN_KEY_NOT_VALID),
    pg.CONSTR_UNIQUE: (Shape.ADD_UNIQUE, Shape.ADD_UNIQUE_USING_INDEX),
    pg.CONSTR_PRIMARY: (Shape.ADD_PRIMARY_KEY, Shape.ADD_PRIMARY_KEY_USING_INDEX),
    pg.CONSTR_EXCLUSION: (Shape.ADD_EXCLUDE, Shape.ADD_EXCLUDE),
}
_NAMED = {
    pg.OBJECT_INDEX: Role.INDEX,
    pg.OBJECT_VIEW: Role.VIEW,
    pg.OBJECT_MATVIEW: Role.MATERIALIZED_VIEW,
    pg.OBJECT_SEQUENCE: Role.SEQUENCE,
}
# Filled anew for every row; of what is in neither set nobody knows (manual, ALTER TABLE, "Notes").
_FILLED = frozenset({"nextval", "clock_timestamp", "random", "gen_random_uuid", "timeofday", "uuid_generate_v4"})
_STABLE = frozenset({"now", "transaction_timestamp", "statement_timestamp", "current_setting", "to_char", "md5"})


def role_of(object_type: int) -> Role:
    """What the relation that a statement names is, by the word before its name."""
    return _NAMED.get(object_type, Role.TABLE)


def uses_of(command: Tree, relation: RelationName, object_type: int, *, only: bool) -> Iterator[Use]:
    """The shapes of one command; none when the map knows nothing like it.

    Args:
        command: The parse tree's `alter_table_cmd`.
        relation: What ALTER names.
        object_type: What ALTER calls it.
        only: Whether children are left out.
    """
    named = (role_of(object_type), relation)
    if command.subtype == pg.AT_AddColumn:
        column = getattr(command, "def").column_def
        for part, other in _shapes_of_column(column):
            yield Use(shape=part, named=(named, *other), only=only)
        return
    shape = _shape_of(command, object_type)
    if shape is None:
        return
    cascade = command.behavior == pg.DROP_CASCADE
    member = RelationName(name=command.name) if command.name else None
    yield Use(shape=shape, named=(named, *_others(command, object_type)), member=member, cascade=cascade, only=only)


def column_references(column: Tree) -> Iterator[RelationName]:
    """The tables that a column definition refers to by foreign keys."""
    for constraint in column.constraints:
        if constraint.constraint.contype == pg.CONSTR_FOREIGN:
            yield name_of(constraint.constraint.pktable)


def effect_of_text(command: Tree) -> Effect | None:
    """What one command may do that the shape does not tell; None for nothing."""
    if command.subtype == pg.AT_AlterColumnType:
        return Effect.MAY_REWRITE
    if command.subtype == pg.AT_DropColumn:
        return Effect.REMOVES
    if command.subtype == pg.AT_AddColumn:
        names = _default_functions(getattr(command, "def").column_def)
        return Effect.MAY_REWRITE if any(name not in _FILLED | _STABLE for name in names) else None
    return None


def _shape_of(command: Tree, object_type: int) -> Shape | None:
    definition = getattr(command, "def")
    kind = command.subtype
    if kind in _OPTIONS:
        return _shape_of_options({item.def_elem.defname for item in definition.list.items}, object_type)
    if kind == pg.AT_AttachPartition and object_type == pg.OBJECT_INDEX:
        return Shape.ATTACH_INDEX
    if kind == pg.AT_DetachPartition:
        concurrently = definition.partition_cmd.concurrent
        return Shape.DETACH_PARTITION_CONCURRENTLY if concurrently else Shape.DETACH_PARTITION
    if kind == pg.AT_AddConstraint:
        constraint = definition.constraint
        shapes = _CONSTRAINTS.get(constraint.contype)
        return shapes[bool(constraint.skip_validation or constraint.indexname)] if shapes else None
    if kind in _DROPS:
        plain, with_cascade = _DROPS[kind]
        return with_cascade if command.behavior == pg.DROP_CASCADE else plain
    return _SHAPES.get(kind)


def _shape_of_options(names: set[str], object_type: int) -> Shape:
    if object_type == pg.OBJECT_INDEX:
        return Shape.SET_INDEX_OPTIONS if names <= _WEAK_INDEX_OPTIONS else Shape.SET_STRONG_INDEX_OPTIONS
    if object_type == pg.OBJECT_VIEW:
        return Shape.ALTER_VIEW
    return Shape.SET_STRONG_OPTIONS if names & _STRONG_TABLE_OPTIONS else Shape.SET_OPTIONS


def _others(command: Tree, object_type: int) -> Iterator[tuple[Role, RelationName]]:
    """The other relations of one command, as far as it names them."""
    definition = getattr(command, "def")
    kind = command.subtype
    if kind in {pg.AT_AttachPartition, pg.AT_DetachPartition, pg.AT_DetachPartitionFinalize}:
        role = Role.PARTITION_INDEX if object_type == pg.OBJECT_INDEX else Role.PARTITION
        yield role, name_of(definition.partition_cmd.name)
    elif kind in {pg.AT_AddInherit, pg.AT_DropInherit}:
        yield Role.PARENT, name_of(definition.range_var)
    elif kind == pg.AT_AddConstraint and definition.constraint.contype == pg.CONSTR_FOREIGN:
        yield Role.REFERENCED, name_of(definition.constraint.pktable)


def _shapes_of_column(column: Tree) -> Iterator[tuple[Shape, tuple[tuple[Role, RelationName], ...]]]:
    """A new column is as many shapes as it has constraints, or a plain one."""
    referenced = [(Role.REFERENCED, name) for name in column_references(column)]
    yield from ((Shape.ADD_COLUMN_REFERENCES, (one,)) for one in referenced)
    found = list(_shapes_without_others(column))
    yield from ((shape, ()) for shape in found)
    if not referenced and not found:
        yield Shape.ADD_COLUMN, ()


def _shapes_without_others(column: Tree) -> Iterator[Shape]:
    if "serial" in "".join(part.string.sval for part in column.type_name.names):
        yield Shape.ADD_COLUMN_SERIAL
    if any(name in _FILLED for name in _default_functions(column)):
        yield Shape.ADD_COLUMN_FILLED
    for one in column.constraints:
        constraint = one.constraint
        if constraint.contype == pg.CONSTR_GENERATED:
            is_virtual = constraint.generated_kind == "v"
            yield Shape.ADD_COLUMN_VIRTUAL if is_virtual else Shape.ADD_COLUMN_GENERATED
        elif constraint.contype in _OF_COLUMN:
            yield _OF_COLUMN[constraint.contype]


_OF_COLUMN = {
    pg.CONSTR_IDENTITY: Shape.ADD_COLUMN_IDENTITY,
    pg.CONSTR_CHECK: Shape.ADD_COLUMN_CHECK,
    pg.CONSTR_UNIQUE: Shape.ADD_COLUMN_UNIQUE,
    pg.CONSTR_PRIMARY: Shape.ADD_COLUMN_UNIQUE,
}


def _default_functions(column: Tree) -> Iterator[str]:
    for one in column.constraints:
        constraint = one.constraint
        if constraint.contype == pg.CONSTR_DEFAULT and constraint.raw_expr.HasField("func_call"):
            yield constraint.raw_expr.func_call.funcname[-1].string.sval
