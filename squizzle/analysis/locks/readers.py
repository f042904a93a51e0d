"""From the parse tree of a statement to its shapes in the lock map, and what the map says about them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from postgast import pg_query_pb2 as pg

from squizzle.analysis.grammar import Tree
from squizzle.analysis.locks.alter_table import column_references, effect_of_text, role_of, uses_of
from squizzle.analysis.locks.foretold import foretell, strongest_of_each
from squizzle.analysis.locks.lock_map import LockMap, lock_map
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import Effect, Forecast, RelationLock, RelationName, Use
from squizzle.analysis.locks.shapes import Role, Shape
from squizzle.analysis.locks.tree import name_from_list, name_of

Reader = Callable[[Tree, LockMap], Forecast]

_UNKNOWN = Forecast(complete=False)
_NOTHING = Forecast()


def locks_of_tree(tree: Tree | None, measured: LockMap | None = None) -> Forecast:
    """What the statement of a tree is expected to lock; None is a statement that cannot be parsed."""
    if tree is None:
        return _UNKNOWN
    kind = tree.WhichOneof("node")
    reader = _READERS.get(kind)
    if reader is not None:
        return reader(getattr(tree, kind), measured or lock_map())
    return _NOTHING if kind in _LOCK_NO_TABLE else _UNKNOWN


# One reader for each kind of statement that locks a relation


def _about(shape: Shape, relation: RelationName, role: Role = Role.TABLE, **more: Any) -> Use:
    return Use(shape=shape, named=((role, relation),), **more)


def _about_each(shape: Shape, relations: Iterable[RelationName], role: Role = Role.TABLE) -> tuple[Use, ...]:
    return tuple(_about(shape, relation, role) for relation in relations)


def _alter_table(tree: Tree, measured: LockMap) -> Forecast:
    relation = name_of(tree.relation)
    commands = [command.alter_table_cmd for command in tree.cmds]
    only = not tree.relation.inh
    shapes = [tuple(uses_of(command, relation, tree.objtype, only=only)) for command in commands]
    effects = [(relation, effect) for effect in map(effect_of_text, commands) if effect is not None]
    # Whose columns and constraints other objects depend on, the catalogue knows, not the text.
    drops = {pg.AT_DropColumn, pg.AT_DropConstraint, pg.AT_AlterColumnType}
    complete = not any(command.subtype in drops or command.behavior == pg.DROP_CASCADE for command in commands)
    uses = [use for found in shapes for use in found]
    forecast = foretell(uses, measured, effects=effects, complete=complete)
    if all(shapes):
        return forecast
    # What the map does not have takes the strongest lock, unless AlterTableGetLockLevel in tablecmds.c says otherwise.
    locks = (RelationLock(relation=relation, mode=LockMode.ACCESS_EXCLUSIVE), *forecast.locks)
    return replace(forecast, locks=strongest_of_each(locks))


def _rename(tree: Tree, measured: LockMap) -> Forecast:
    shape = _RENAMES.get(tree.rename_type)
    if not tree.HasField("relation") or shape is None:
        return _NOTHING
    relation = name_of(tree.relation)
    new = RelationName(schema=relation.schema, name=tree.newname)
    renames = ((relation, new),) if tree.rename_type in _RELATIONS else ()
    role = role_of(tree.rename_type)
    return foretell([_about(shape, relation, role, only=not tree.relation.inh)], measured, renames=renames)


_RENAMES = {
    pg.OBJECT_TABLE: Shape.RENAME_TABLE,
    pg.OBJECT_FOREIGN_TABLE: Shape.RENAME_TABLE,
    pg.OBJECT_INDEX: Shape.RENAME_INDEX,
    pg.OBJECT_VIEW: Shape.RENAME_VIEW,
    pg.OBJECT_MATVIEW: Shape.RENAME_VIEW,
    pg.OBJECT_SEQUENCE: Shape.RENAME_SEQUENCE,
    pg.OBJECT_COLUMN: Shape.RENAME_COLUMN,
    pg.OBJECT_ATTRIBUTE: Shape.RENAME_COLUMN,
    pg.OBJECT_TABCONSTRAINT: Shape.RENAME_CONSTRAINT,
    pg.OBJECT_TRIGGER: Shape.RENAME_TRIGGER,
    pg.OBJECT_RULE: Shape.RENAME_RULE,
    pg.OBJECT_POLICY: Shape.RENAME_POLICY,
}
_RELATIONS = frozenset(
    {pg.OBJECT_TABLE, pg.OBJECT_VIEW, pg.OBJECT_MATVIEW, pg.OBJECT_SEQUENCE, pg.OBJECT_INDEX, pg.OBJECT_FOREIGN_TABLE}
)
_DROPS_ON_TABLES = {
    pg.OBJECT_TRIGGER: Shape.DROP_TRIGGER,
    pg.OBJECT_POLICY: Shape.DROP_POLICY,
    pg.OBJECT_RULE: Shape.DROP_RULE,
}
_DROPS = {
    pg.OBJECT_TABLE: Shape.DROP_TABLE,
    pg.OBJECT_FOREIGN_TABLE: Shape.DROP_TABLE,
    pg.OBJECT_INDEX: Shape.DROP_INDEX,
    pg.OBJECT_VIEW: Shape.DROP_VIEW,
    pg.OBJECT_MATVIEW: Shape.DROP_MATERIALIZED_VIEW,
    pg.OBJECT_SEQUENCE: Shape.DROP_SEQUENCE,
}


def _drop(tree: Tree, measured: LockMap) -> Forecast:
    cascade = tree.behavior == pg.DROP_CASCADE
    names = [object_.list.items for object_ in tree.objects]
    if tree.remove_type in _DROPS_ON_TABLES:
        shape = _DROPS_ON_TABLES[tree.remove_type]
        uses = [
            _about(shape, name_from_list(parts[:-1]), member=name_from_list(parts[-1:]), cascade=cascade)
            for parts in names
        ]
        return foretell(uses, measured, complete=not cascade)
    if tree.remove_type not in _DROPS:
        return replace(_UNKNOWN, uses=tuple(_objects_dropped(tree))) if cascade else _NOTHING
    relations = [name_from_list(parts) for parts in names]
    effects = [(name, Effect.REMOVES) for name in relations if tree.remove_type == pg.OBJECT_TABLE]
    # The table of an index, the other end of a foreign key, the parent of a partition: the catalogue knows.
    shape = Shape.DROP_INDEX_CONCURRENTLY if tree.concurrent else _DROPS[tree.remove_type]
    uses = [_about(shape, relation, role_of(tree.remove_type), cascade=cascade) for relation in relations]
    return foretell(uses, measured, effects=effects, complete=False)


def _objects_dropped(tree: Tree) -> Iterator[Use]:
    """Types, domains, functions and schemas: what depends on them is dropped with them."""
    shape = _DROPS_OF_OTHERS.get(tree.remove_type)
    if shape is not None:
        for dropped in tree.objects:
            yield Use(shape=shape, member=_name_of_object(dropped), cascade=True)


_DROPS_OF_OTHERS = {
    pg.OBJECT_TYPE: Shape.DROP_DOMAIN_CASCADE,
    pg.OBJECT_DOMAIN: Shape.DROP_DOMAIN_CASCADE,
    pg.OBJECT_FUNCTION: Shape.DROP_FUNCTION_CASCADE,
    pg.OBJECT_PROCEDURE: Shape.DROP_FUNCTION_CASCADE,
    pg.OBJECT_ROUTINE: Shape.DROP_FUNCTION_CASCADE,
}


def _name_of_object(dropped: Tree) -> RelationName:
    match dropped.WhichOneof("node"):
        case "type_name":
            return name_from_list(dropped.type_name.names)
        case "object_with_args":
            return name_from_list(dropped.object_with_args.objname)
    return name_from_list(dropped.list.items)


def _create_table(tree: Tree, measured: LockMap) -> Forecast:
    uses = [_about(Shape.CREATE_TABLE_REFERENCES, name, Role.REFERENCED) for name in _references(tree)]
    if tree.HasField("partbound"):
        uses += _about_each(Shape.CREATE_PARTITION, [name_of(one.range_var) for one in tree.inh_relations])
    else:
        parents = [name_of(one.range_var) for one in tree.inh_relations]
        uses += _about_each(Shape.CREATE_TABLE_INHERITS, parents, Role.PARENT)
    return foretell(uses, measured, creates=(name_of(tree.relation),), complete=not tree.HasField("partbound"))


def _references(tree: Tree) -> Iterator[RelationName]:
    for element in tree.table_elts:
        if element.HasField("column_def"):
            yield from column_references(element.column_def)
        elif element.HasField("constraint") and element.constraint.contype == pg.CONSTR_FOREIGN:
            yield name_of(element.constraint.pktable)


def _create_foreign_table(tree: Tree, measured: LockMap) -> Forecast:
    return _create_table(tree.base_stmt, measured)


def _create_table_as(tree: Tree, _measured: LockMap) -> Forecast:
    return Forecast(creates=(name_of(tree.into.rel),), complete=False)


def _create_view(tree: Tree, measured: LockMap) -> Forecast:
    name = name_of(tree.view)
    if not tree.replace:
        return Forecast(creates=(name,))
    return foretell([_about(Shape.REPLACE_VIEW, name, Role.VIEW)], measured)


def _create_sequence(tree: Tree, _measured: LockMap) -> Forecast:
    return Forecast(creates=(name_of(tree.sequence),))


def _create_index(tree: Tree, measured: LockMap) -> Forecast:
    shape = Shape.CREATE_INDEX_CONCURRENTLY if tree.concurrent else Shape.CREATE_INDEX
    creates = (RelationName(schema=tree.relation.schemaname, name=tree.idxname),) if tree.idxname else ()
    return foretell([_about(shape, name_of(tree.relation), only=not tree.relation.inh)], measured, creates=creates)


def _reindex(tree: Tree, measured: LockMap) -> Forecast:
    if not tree.HasField("relation"):
        return _UNKNOWN
    concurrently = any(one.def_elem.defname == "concurrently" for one in tree.params)
    is_index = tree.kind == pg.REINDEX_OBJECT_INDEX
    relation = name_of(tree.relation)
    use = _about(_REINDEX[is_index, concurrently], relation, Role.INDEX if is_index else Role.TABLE)
    # Each index is locked ACCESS EXCLUSIVE while it is built anew, and planning a query needs all of them.
    return foretell([use], measured, effects=[(relation, Effect.READS_ALL)], complete=False)


_REINDEX = {
    (True, False): Shape.REINDEX_INDEX,
    (True, True): Shape.REINDEX_INDEX_CONCURRENTLY,
    (False, False): Shape.REINDEX_TABLE,
    (False, True): Shape.REINDEX_TABLE_CONCURRENTLY,
}


def _truncate(tree: Tree, measured: LockMap) -> Forecast:
    cascade = tree.behavior == pg.DROP_CASCADE
    shapes = [Shape.TRUNCATE_CASCADE if cascade else Shape.TRUNCATE]
    if tree.restart_seqs:
        shapes.append(Shape.TRUNCATE_RESTART_IDENTITY)
    ranges = [relation.range_var for relation in tree.relations]
    uses = [_about(shape, name_of(one), cascade=cascade, only=not one.inh) for one in ranges for shape in shapes]
    effects = [(name_of(one), Effect.REMOVES) for one in ranges]
    return foretell(uses, measured, effects=effects, complete=not cascade)


def _vacuum(tree: Tree, measured: LockMap) -> Forecast:
    if not tree.rels:
        return _UNKNOWN
    full = any(option.def_elem.defname == "full" for option in tree.options)
    shape = Shape.VACUUM_FULL if full else Shape.VACUUM if tree.is_vacuumcmd else Shape.ANALYZE
    return foretell(_about_each(shape, [name_of(one.vacuum_relation.relation) for one in tree.rels]), measured)


def _cluster(tree: Tree, measured: LockMap) -> Forecast:
    if not tree.HasField("relation"):
        return _UNKNOWN
    return foretell([_about(Shape.CLUSTER, name_of(tree.relation))], measured)


def _refresh(tree: Tree, measured: LockMap) -> Forecast:
    shape = Shape.REFRESH_CONCURRENTLY if tree.concurrent else Shape.REFRESH
    return foretell([_about(shape, name_of(tree.relation), Role.MATERIALIZED_VIEW)], measured)


def _lock_table(tree: Tree, _measured: LockMap) -> Forecast:
    mode = tuple(LockMode)[tree.mode - 1]
    ranges = [one.range_var for one in tree.relations]
    locks = tuple(RelationLock(relation=name_of(one), mode=mode) for one in ranges)
    uses = tuple(_about(Shape.LOCK_TABLE, name_of(one), only=not one.inh) for one in ranges)
    return Forecast(locks=locks, uses=uses)


def _write_rows(shape: Shape) -> Reader:
    return lambda tree, measured: foretell([_about(shape, name_of(tree.relation))], measured)


def _copy(tree: Tree, measured: LockMap) -> Forecast:
    into = tree.is_from and tree.HasField("relation")
    return foretell([_about(Shape.INSERT, name_of(tree.relation))], measured) if into else _NOTHING


def _select(tree: Tree, _measured: LockMap) -> Forecast:
    # A function may do anything; a query without one locks rows at the most.
    return _UNKNOWN if "func_call" in str(tree) else _NOTHING


def _on_relation(shape: Shape) -> Reader:
    return lambda tree, measured: foretell([_about(shape, name_of(tree.relation))], measured)


def _on_table(shape: Shape) -> Reader:
    return lambda tree, measured: foretell([_about(shape, name_of(tree.table))], measured)


def _sequence(tree: Tree, measured: LockMap) -> Forecast:
    return foretell([_about(Shape.ALTER_SEQUENCE, name_of(tree.sequence), Role.SEQUENCE)], measured)


def _statistics(tree: Tree, measured: LockMap) -> Forecast:
    relations = [name_of(one.range_var) for one in tree.relations]
    return foretell(_about_each(Shape.CREATE_STATISTICS, relations), measured)


def _comment(tree: Tree, measured: LockMap) -> Forecast:
    items = tree.object.list.items
    if tree.objtype == pg.OBJECT_COLUMN:
        return foretell([_about(Shape.COMMENT_ON_COLUMN, name_from_list(items[:-1]))], measured)
    if tree.objtype not in _RELATIONS:
        return _NOTHING
    shape = Shape.COMMENT_ON_INDEX if tree.objtype == pg.OBJECT_INDEX else Shape.COMMENT_ON_TABLE
    return foretell([_about(shape, name_from_list(items), role_of(tree.objtype))], measured)


def _publication(tree: Tree, measured: LockMap) -> Forecast:
    specs = [one.publication_obj_spec for one in tree.pubobjects]
    tables = [one.pubtable.relation for one in specs if one.pubobjtype == pg.PUBLICATIONOBJ_TABLE]
    uses = [_about(Shape.CREATE_PUBLICATION, name_of(one), only=not one.inh) for one in tables]
    return foretell(uses, measured)


def _set_schema(tree: Tree, measured: LockMap) -> Forecast:
    if not tree.HasField("relation"):
        return _NOTHING
    relation = name_of(tree.relation)
    new = RelationName(schema=tree.newschema, name=relation.name)
    use = _about(Shape.SET_SCHEMA, relation, role_of(tree.object_type))
    return foretell([use], measured, renames=((relation, new),))


def _alter_domain(tree: Tree, measured: LockMap) -> Forecast:
    """The tables that use the domain: only the catalogue knows them."""
    not_valid = tree.subtype == "C" and getattr(tree, "def").constraint.skip_validation
    quick = not_valid or tree.subtype not in {"C", "V", "O"}
    shape = Shape.ALTER_DOMAIN_NOT_VALID if quick else Shape.ALTER_DOMAIN
    use = Use(shape=shape, member=name_from_list(tree.type_name))
    return foretell([use], measured, complete=quick)


_READERS: Mapping[str, Reader] = {
    "alter_table_stmt": _alter_table,
    "rename_stmt": _rename,
    "drop_stmt": _drop,
    "create_stmt": _create_table,
    "create_foreign_table_stmt": _create_foreign_table,
    "create_table_as_stmt": _create_table_as,
    "view_stmt": _create_view,
    "create_seq_stmt": _create_sequence,
    "index_stmt": _create_index,
    "reindex_stmt": _reindex,
    "truncate_stmt": _truncate,
    "vacuum_stmt": _vacuum,
    "cluster_stmt": _cluster,
    "refresh_mat_view_stmt": _refresh,
    "lock_stmt": _lock_table,
    "insert_stmt": _write_rows(Shape.INSERT),
    "update_stmt": _write_rows(Shape.UPDATE),
    "delete_stmt": _write_rows(Shape.DELETE),
    "merge_stmt": _write_rows(Shape.MERGE),
    "copy_stmt": _copy,
    "select_stmt": _select,
    "create_trig_stmt": _on_relation(Shape.CREATE_TRIGGER),
    "rule_stmt": _on_relation(Shape.CREATE_RULE),
    "create_policy_stmt": _on_table(Shape.CREATE_POLICY),
    "alter_policy_stmt": _on_table(Shape.ALTER_POLICY),
    "alter_seq_stmt": _sequence,
    "alter_domain_stmt": _alter_domain,
    "create_stats_stmt": _statistics,
    "comment_stmt": _comment,
    "create_publication_stmt": _publication,
    "alter_publication_stmt": _publication,
    "alter_object_schema_stmt": _set_schema,
}

# Statements that lock no table that was there before.
_LOCK_NO_TABLE = frozenset(
    {
        "alter_default_privileges_stmt",
        "alter_enum_stmt",
        "alter_function_stmt",
        "alter_owner_stmt",
        "alter_role_set_stmt",
        "alter_role_stmt",
        "alter_stats_stmt",
        "alter_database_set_stmt",
        "alter_database_stmt",
        "create_am_stmt",
        "create_cast_stmt",
        "create_domain_stmt",
        "create_enum_stmt",
        "composite_type_stmt",
        "create_event_trig_stmt",
        "create_function_stmt",
        "create_plang_stmt",
        "create_range_stmt",
        "create_role_stmt",
        "create_schema_stmt",
        "createdb_stmt",
        "deallocate_stmt",
        "define_stmt",
        "discard_stmt",
        "drop_role_stmt",
        "grant_role_stmt",
        "grant_stmt",
        "listen_stmt",
        "notify_stmt",
        "transaction_stmt",
        "unlisten_stmt",
        "variable_set_stmt",
        "variable_show_stmt",
    }
)
