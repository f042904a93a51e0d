"""ALTER TABLE: the lock of each of its forms. Measured on PostgreSQL 15 and 18; a test measures it anew on each server.

The ground truth is `AlterTableGetLockLevel` in PostgreSQL's tablecmds.c; what is not listed takes ACCESS EXCLUSIVE.
"""

from __future__ import annotations

from collections.abc import Iterator

from postgast import pg_query_pb2 as pg

from squizzle.analysis.grammar import Tree
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import Effect, RelationLock
from squizzle.analysis.locks.tree import found_lock

_AX = LockMode.ACCESS_EXCLUSIVE
_SUX = LockMode.SHARE_UPDATE_EXCLUSIVE
_SRX = LockMode.SHARE_ROW_EXCLUSIVE

_WEAKER = {
    pg.AT_SetStatistics: _SUX,
    pg.AT_SetOptions: _SUX,
    pg.AT_ResetOptions: _SUX,
    pg.AT_ClusterOn: _SUX,
    pg.AT_DropCluster: _SUX,
    pg.AT_ValidateConstraint: _SUX,
    pg.AT_AttachPartition: _SUX,
    pg.AT_DetachPartitionFinalize: _SUX,
    pg.AT_EnableTrig: _SRX,
    pg.AT_EnableAlwaysTrig: _SRX,
    pg.AT_EnableReplicaTrig: _SRX,
    pg.AT_EnableTrigAll: _SRX,
    pg.AT_EnableTrigUser: _SRX,
    pg.AT_DisableTrig: _SRX,
    pg.AT_DisableTrigAll: _SRX,
    pg.AT_DisableTrigUser: _SRX,
}
_OPTIONS = frozenset({pg.AT_SetRelOptions, pg.AT_ResetRelOptions})
# Storage options of tables that need ACCESS EXCLUSIVE, and those of indexes that do not (reloptions.c).
_STRONG_TABLE_OPTIONS = frozenset({"user_catalog_table", "security_barrier", "security_invoker", "check_option"})
_WEAK_INDEX_OPTIONS = frozenset({"fillfactor", "deduplicate_items"})
_EFFECTS = {
    pg.AT_SetNotNull: Effect.READS_ALL,
    pg.AT_DropColumn: Effect.REMOVES,
    pg.AT_AlterColumnType: Effect.MAY_REWRITE,
    pg.AT_ValidateConstraint: Effect.READS_ALL,
    pg.AT_SetLogged: Effect.REWRITES,
    pg.AT_SetUnLogged: Effect.REWRITES,
    pg.AT_SetAccessMethod: Effect.REWRITES,
    pg.AT_SetTableSpace: Effect.REWRITES,
    pg.AT_AttachPartition: Effect.READS_ALL,
}
_FILLED = frozenset({"nextval", "clock_timestamp", "random", "gen_random_uuid", "timeofday", "uuid_generate_v4"})


def command_mode(command: Tree, object_type: int) -> LockMode:
    """The lock that one command of ALTER TABLE, VIEW, INDEX … takes on the relation it names."""
    kind = command.subtype
    if kind in _OPTIONS:
        names = {item.def_elem.defname for item in getattr(command, "def").list.items}
        if object_type == pg.OBJECT_INDEX:
            return _SUX if names <= _WEAK_INDEX_OPTIONS else _AX
        return _AX if names & _STRONG_TABLE_OPTIONS or object_type == pg.OBJECT_VIEW else _SUX
    if kind == pg.AT_AttachPartition and object_type == pg.OBJECT_INDEX:
        return _AX
    if kind == pg.AT_DetachPartition:
        return _SUX if getattr(command, "def").partition_cmd.concurrent else _AX
    if kind == pg.AT_AddConstraint:
        return _SRX if getattr(command, "def").constraint.contype == pg.CONSTR_FOREIGN else _AX
    return _WEAKER.get(kind, _AX)


def other_locks(command: Tree) -> Iterator[RelationLock]:
    """The locks of one command on other relations, as far as it names them."""
    definition = getattr(command, "def")
    kind = command.subtype
    if kind in {pg.AT_AttachPartition, pg.AT_DetachPartition, pg.AT_DetachPartitionFinalize}:
        yield found_lock(definition.partition_cmd.name, _AX)
    elif kind == pg.AT_AddInherit:
        yield found_lock(definition.range_var, _SUX)
    elif kind == pg.AT_AddConstraint and definition.constraint.contype == pg.CONSTR_FOREIGN:
        yield found_lock(definition.constraint.pktable, _SRX)
    elif kind == pg.AT_AddColumn:
        yield from column_references(definition.column_def)


def column_references(column: Tree) -> Iterator[RelationLock]:
    """The tables that a column definition refers to by foreign keys."""
    for constraint in column.constraints:
        if constraint.constraint.contype == pg.CONSTR_FOREIGN:
            yield found_lock(constraint.constraint.pktable, _SRX)


def effect_of(command: Tree) -> Effect | None:
    """What one command does under its lock; None for what is done in an instant."""
    definition = getattr(command, "def")
    if command.subtype == pg.AT_AddConstraint:
        constraint = definition.constraint
        return None if constraint.skip_validation or constraint.indexname else Effect.READS_ALL
    if command.subtype == pg.AT_AddColumn:
        return _effect_of_column(definition.column_def)
    return _EFFECTS.get(command.subtype)


def _effect_of_column(column: Tree) -> Effect | None:
    kinds = {one.constraint.contype for one in column.constraints}
    if "serial" in "".join(part.string.sval for part in column.type_name.names) or pg.CONSTR_IDENTITY in kinds:
        return Effect.REWRITES
    for one in column.constraints:
        constraint = one.constraint
        if constraint.contype == pg.CONSTR_GENERATED and constraint.generated_kind != "v":
            return Effect.REWRITES
        if constraint.contype == pg.CONSTR_DEFAULT and constraint.raw_expr.HasField("func_call"):
            name = constraint.raw_expr.func_call.funcname[-1].string.sval
            return Effect.REWRITES if name in _FILLED else Effect.MAY_REWRITE if _is_unknown(name) else None
    return Effect.READS_ALL if kinds & {pg.CONSTR_CHECK, pg.CONSTR_UNIQUE, pg.CONSTR_PRIMARY} else None


def _is_unknown(function: str) -> bool:
    """Whether a default's function may be volatile: then the table is rewritten (manual, ALTER TABLE, "Notes")."""
    return function not in {"now", "transaction_timestamp", "statement_timestamp", "current_setting", "to_char", "md5"}
