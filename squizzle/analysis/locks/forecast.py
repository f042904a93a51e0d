"""Which locks a statement, or a script, is expected to take. Pure: the text decides, no database is asked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from postgast import pg_query_pb2 as pg

from squizzle.analysis.grammar import Tree, parse_statement
from squizzle.analysis.locks.alter_table import column_references, command_mode, effect_of, other_locks
from squizzle.analysis.locks.modes import LockMode
from squizzle.analysis.locks.records import Effect, Forecast, RelationLock, RelationName, RelationSet
from squizzle.analysis.locks.tree import found_lock, name_from_list, name_of
from squizzle.analysis.records import Statement

_AX = LockMode.ACCESS_EXCLUSIVE
_SUX = LockMode.SHARE_UPDATE_EXCLUSIVE
_SRX = LockMode.SHARE_ROW_EXCLUSIVE
_RX = LockMode.ROW_EXCLUSIVE

_UNKNOWN = Forecast(complete=False)
_NOTHING = Forecast()


def predict_locks(statement: Statement) -> Forecast:
    """What one statement is expected to lock.

    Rows that are written one statement at a time are told by their first words: parsing 100 MB of INSERT costs half a
    minute and tells no more.
    """
    rows = _LOADS_ROWS.match(statement.sql)
    if rows is not None:
        return Forecast(locks=(RelationLock(relation=_plain_name(rows), mode=_RX),))
    return locks_of_tree(parse_statement(statement.sql))


def locks_of_tree(tree: Tree | None) -> Forecast:
    """What the statement of a tree is expected to lock; None is a statement that cannot be parsed."""
    if tree is None:
        return _UNKNOWN
    kind = tree.WhichOneof("node")
    reader = _READERS.get(kind)
    if reader is not None:
        return reader(getattr(tree, kind))
    return _NOTHING if kind in _LOCK_NO_TABLE else _UNKNOWN


def forecast_locks(statements: Iterable[Statement]) -> Forecast:
    """What a whole script is expected to lock: the strongest on each relation that was there before the script."""
    strongest: dict[RelationName, LockMode] = {}
    effects: list[tuple[RelationName, Effect]] = []
    known_as: dict[RelationName, RelationName] = {}
    created = RelationSet()
    creates: list[RelationName] = []
    complete = True
    for statement in statements:
        one = predict_locks(statement).without(created)
        complete = complete and one.complete
        for lock in one.locks:
            before = known_as.get(lock.relation, lock.relation)
            strongest[before] = max(strongest.get(before, lock.mode), lock.mode, key=lambda mode: mode.strength)
        effects += one.effects
        created.update(one.creates)
        creates += one.creates
        known_as |= {new: known_as.get(old, old) for old, new in one.renames}
    locks = tuple(RelationLock(relation=relation, mode=mode) for relation, mode in sorted(strongest.items()))
    return Forecast(
        locks=locks, effects=tuple(dict.fromkeys(effects)), complete=complete, creates=tuple(dict.fromkeys(creates))
    )


# INSERT INTO name [(columns)] VALUES, and COPY name [(columns)] FROM; everything else is parsed.
_NAME = r'(?:[A-Za-z_][A-Za-z0-9_$]*|"(?:[^"]|"")+")'
_LOADS_ROWS = re.compile(
    rf"(?:INSERT\s+INTO|COPY)\s+(?:(?P<schema>{_NAME})\s*\.\s*)?(?P<name>{_NAME})\s*(?:\([^()]*\)\s*)?(?:VALUES|FROM)\b",
    re.IGNORECASE,
)


def _plain_name(match: re.Match[str]) -> RelationName:
    return RelationName(schema=_unquoted(match["schema"] or ""), name=_unquoted(match["name"]))


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()


# One reader for each kind of statement that locks a relation


def _alter_table(tree: Tree) -> Forecast:
    relation = name_of(tree.relation)
    commands = [command.alter_table_cmd for command in tree.cmds]
    mode = max((command_mode(command, tree.objtype) for command in commands), key=lambda one: one.strength)
    others = [lock for command in commands for lock in other_locks(command)]
    effects = [(relation, effect) for effect in map(effect_of, commands) if effect is not None]
    # Whose columns and constraints other objects depend on, the catalogue knows, not the text.
    drops = {pg.AT_DropColumn, pg.AT_DropConstraint, pg.AT_AlterColumnType}
    complete = not any(command.subtype in drops or command.behavior == pg.DROP_CASCADE for command in commands)
    locks = (RelationLock(relation=relation, mode=mode), *others)
    return Forecast(locks=locks, effects=tuple(effects), complete=complete)


def _rename(tree: Tree) -> Forecast:
    if not tree.HasField("relation"):
        return _NOTHING
    relation = name_of(tree.relation)
    mode = _SUX if tree.rename_type == pg.OBJECT_INDEX else _AX
    new = RelationName(schema=relation.schema, name=tree.newname)
    renames = ((relation, new),) if tree.rename_type in _RELATIONS else ()
    return Forecast(locks=(RelationLock(relation=relation, mode=mode),), renames=renames)


_RELATIONS = frozenset(
    {pg.OBJECT_TABLE, pg.OBJECT_VIEW, pg.OBJECT_MATVIEW, pg.OBJECT_SEQUENCE, pg.OBJECT_INDEX, pg.OBJECT_FOREIGN_TABLE}
)
_ON_TABLES = frozenset({pg.OBJECT_TRIGGER, pg.OBJECT_POLICY, pg.OBJECT_RULE})


def _drop(tree: Tree) -> Forecast:
    names = [object_.list.items for object_ in tree.objects]
    if tree.remove_type in _ON_TABLES:
        relations = [name_from_list(parts[:-1]) for parts in names]
        return Forecast(locks=_locks(relations, _AX), complete=tree.behavior != pg.DROP_CASCADE)
    if tree.remove_type not in _RELATIONS:
        return _NOTHING if tree.behavior != pg.DROP_CASCADE else _UNKNOWN
    relations = [name_from_list(parts) for parts in names]
    effects = tuple((name, Effect.REMOVES) for name in relations if tree.remove_type == pg.OBJECT_TABLE)
    # The table of an index, the other end of a foreign key, the parent of a partition: the catalogue knows.
    mode = _SUX if tree.concurrent else _AX
    return Forecast(locks=_locks(relations, mode), effects=effects, complete=False)


def _locks(relations: Iterable[RelationName], mode: LockMode) -> tuple[RelationLock, ...]:
    return tuple(RelationLock(relation=relation, mode=mode) for relation in relations)


def _create_table(tree: Tree) -> Forecast:
    locks: list[RelationLock] = []
    for element in tree.table_elts:
        if element.HasField("column_def"):
            locks += column_references(element.column_def)
        elif element.HasField("constraint") and element.constraint.contype == pg.CONSTR_FOREIGN:
            locks.append(found_lock(element.constraint.pktable, _SRX))
    parent_mode = _AX if tree.HasField("partbound") else _SUX
    locks += [found_lock(parent.range_var, parent_mode) for parent in tree.inh_relations]
    return Forecast(locks=tuple(locks), creates=(name_of(tree.relation),), complete=not tree.HasField("partbound"))


def _create_foreign_table(tree: Tree) -> Forecast:
    return _create_table(tree.base_stmt)


def _create_table_as(tree: Tree) -> Forecast:
    return Forecast(creates=(name_of(tree.into.rel),), complete=False)


def _create_view(tree: Tree) -> Forecast:
    name = name_of(tree.view)
    return Forecast(locks=_locks([name], _AX)) if tree.replace else Forecast(creates=(name,))


def _create_sequence(tree: Tree) -> Forecast:
    return Forecast(creates=(name_of(tree.sequence),))


def _create_index(tree: Tree) -> Forecast:
    mode = _SUX if tree.concurrent else LockMode.SHARE
    effects = ((name_of(tree.relation), Effect.READS_ALL),)
    creates = (RelationName(schema=tree.relation.schemaname, name=tree.idxname),) if tree.idxname else ()
    return Forecast(locks=(found_lock(tree.relation, mode),), effects=effects, creates=creates)


def _reindex(tree: Tree) -> Forecast:
    concurrent = any(one.def_elem.defname == "concurrently" for one in tree.params)
    if not tree.HasField("relation"):
        return _UNKNOWN
    is_index = tree.kind == pg.REINDEX_OBJECT_INDEX
    mode = _SUX if concurrent else _AX if is_index else LockMode.SHARE
    relation = name_of(tree.relation)
    # Each index is locked ACCESS EXCLUSIVE while it is built anew, and planning a query needs all of them.
    return Forecast(locks=_locks([relation], mode), effects=((relation, Effect.READS_ALL),), complete=False)


def _truncate(tree: Tree) -> Forecast:
    relations = [name_of(relation.range_var) for relation in tree.relations]
    effects = tuple((relation, Effect.REMOVES) for relation in relations)
    complete = tree.behavior != pg.DROP_CASCADE
    return Forecast(locks=_locks(relations, _AX), effects=effects, complete=complete)


def _vacuum(tree: Tree) -> Forecast:
    if not tree.rels:
        return _UNKNOWN
    full = any(option.def_elem.defname == "full" for option in tree.options)
    relations = [name_of(one.vacuum_relation.relation) for one in tree.rels]
    effects = tuple((relation, Effect.REWRITES) for relation in relations if full)
    return Forecast(locks=_locks(relations, _AX if full else _SUX), effects=effects)


def _cluster(tree: Tree) -> Forecast:
    if not tree.HasField("relation"):
        return _UNKNOWN
    relation = name_of(tree.relation)
    return Forecast(locks=_locks([relation], _AX), effects=((relation, Effect.REWRITES),))


def _refresh(tree: Tree) -> Forecast:
    mode = LockMode.EXCLUSIVE if tree.concurrent else _AX
    relation = name_of(tree.relation)
    return Forecast(locks=_locks([relation], mode), effects=((relation, Effect.REWRITES),))


def _lock_table(tree: Tree) -> Forecast:
    mode = tuple(LockMode)[tree.mode - 1]
    return Forecast(locks=_locks([name_of(one.range_var) for one in tree.relations], mode))


def _write_rows(tree: Tree) -> Forecast:
    return Forecast(locks=(found_lock(tree.relation, _RX),))


def _copy(tree: Tree) -> Forecast:
    return _write_rows(tree) if tree.is_from and tree.HasField("relation") else _NOTHING


def _select(tree: Tree) -> Forecast:
    # A function may do anything; a query without one locks rows at the most.
    return _UNKNOWN if "func_call" in str(tree) else _NOTHING


def _on_relation(mode: LockMode) -> Callable[[Tree], Forecast]:
    return lambda tree: Forecast(locks=(found_lock(tree.relation, mode),))


def _on_table(mode: LockMode) -> Callable[[Tree], Forecast]:
    return lambda tree: Forecast(locks=(found_lock(tree.table, mode),))


def _sequence(tree: Tree) -> Forecast:
    return Forecast(locks=(found_lock(tree.sequence, _SRX),))


def _statistics(tree: Tree) -> Forecast:
    return Forecast(locks=_locks([name_of(one.range_var) for one in tree.relations], _SUX))


def _comment(tree: Tree) -> Forecast:
    items = tree.object.list.items
    if tree.objtype == pg.OBJECT_COLUMN:
        return Forecast(locks=_locks([name_from_list(items[:-1])], _SUX))
    return Forecast(locks=_locks([name_from_list(items)], _SUX)) if tree.objtype in _RELATIONS else _NOTHING


def _publication(tree: Tree) -> Forecast:
    specs = [one.publication_obj_spec for one in tree.pubobjects]
    tables = [name_of(one.pubtable.relation) for one in specs if one.pubobjtype == pg.PUBLICATIONOBJ_TABLE]
    return Forecast(locks=_locks(tables, _SUX))


def _set_schema(tree: Tree) -> Forecast:
    if not tree.HasField("relation"):
        return _NOTHING
    relation = name_of(tree.relation)
    new = RelationName(schema=tree.newschema, name=relation.name)
    return Forecast(locks=_locks([relation], _AX), renames=((relation, new),))


_READERS: Mapping[str, Callable[[Tree], Forecast]] = {
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
    "insert_stmt": _write_rows,
    "update_stmt": _write_rows,
    "delete_stmt": _write_rows,
    "merge_stmt": _write_rows,
    "copy_stmt": _copy,
    "select_stmt": _select,
    "create_trig_stmt": _on_relation(_SRX),
    "rule_stmt": _on_relation(_AX),
    "create_policy_stmt": _on_table(_AX),
    "alter_policy_stmt": _on_table(_AX),
    "alter_seq_stmt": _sequence,
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


def hazards_of(forecast: Forecast) -> tuple[str, ...]:
    """What a forecast means for clients and data, a sentence each; nothing for what holds nobody up."""
    sentences = []
    for lock in forecast.locks:
        if lock.mode.blocks_reads:
            sentences.append(f"blocks reads and writes of {lock.relation}")
        elif lock.mode.blocks_writes:
            sentences.append(f"blocks writes of {lock.relation}")
    sentences += [f"{effect} {relation}" for relation, effect in forecast.effects]
    if not forecast.complete:
        sentences.append("may lock more than its text says")
    return tuple(sentences)
