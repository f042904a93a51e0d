"""The way back of statements that change rows. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from graphlib import CycleError, TopologicalSorter

from postgast import pg_query_pb2 as pb

from squizzle.analysis.grammar import Tree
from squizzle.migrations.reversal.context import Context
from squizzle.migrations.reversal.definitions import Definitions, Relation
from squizzle.migrations.reversal.records import (
    Reverse,
    Reversibility,
    Saving,
    exact,
    irreversible,
    lossy,
    nothing_to_do,
)
from squizzle.migrations.reversal.saving import DELETE, INSERT, TRUNCATE, Saved, firing, key_of, save_table
from squizzle.migrations.reversal.touched import ACTS, save_deleted, save_updated, stop_where_any, why_not_saved
from squizzle.migrations.reversal.trees import expression_text, quoted, range_name, statement_text

_FROM_A_BACKUP = "from a backup or from a point in time before the script, or save them first with --save-rows"
_GOES_WITH_TABLE = "the script itself made the table, so its rows go with it"


def reverse_insert(tree: Tree, definitions: Definitions | None, context: Context) -> Reverse:
    """INSERT: delete by key, where the statement itself says the keys."""
    statement = tree.insert_stmt
    table = range_name(statement.relation)
    if table in context.created:
        return nothing_to_do(_GOES_WITH_TABLE)
    if statement.HasField("on_conflict_clause"):
        return irreversible(f"ON CONFLICT: which rows of {table} were new is not known afterwards")
    relation = definitions.relation(table) if definitions else None
    known = _keys(relation) if relation else []
    if definitions is None or relation is None or not known:
        return irreversible(f"no key of {table} is known that would tell the new rows from others")
    for key in known:
        rows = _literal_keys(statement, relation, key)
        if rows is not None:
            values = ", ".join(rows)
            new = f"({_listed(key)}) IN ({values})"
            return _deleted(
                table, relation, new, tuple(_pointing(table, relation, new, values, key, (definitions, context)))
            )
    written = " or ".join(f"({', '.join(key)})" for key in known)
    return irreversible(f"the keys {written} of the new rows of {table} are not written in the statement")


def _deleted(table: str, relation: Relation, new: str, checks: Sequence[str]) -> Reverse:
    reason = "the new rows are deleted by their keys; sequences keep their positions"
    statements = (*checks, f"DELETE FROM {table} WHERE {new}")
    names = dict.fromkeys(one.name for one in (*firing(relation, INSERT), *firing(relation, DELETE)))
    if names:
        return lossy(
            *statements, reason=f"{reason}; what triggers of {table} ({', '.join(names)}) do more is not known"
        )
    return exact(*statements, reason=reason)


def _pointing(
    table: str, relation: Relation, new: str, values: str, key: Sequence[str], scope: tuple[Definitions, Context]
) -> Iterator[str]:
    """Blocks that stop the way back where rows of clients point at the new rows and would be deleted or emptied, too.

    Args:
        table: As the statement names it.
        relation: The same.
        new: The condition that finds the new rows.
        values: Their keys.
        key: The columns of those.
        scope: The database before the statement, and what the script did until then.
    """
    definitions, context = scope
    acting = [one for one in relation.references if one.on_delete in ACTS]
    if not acting:
        return
    # What the script itself made goes on its way back in any case.
    whole = {name: known.name for name, known in _known(definitions, context)}
    made = {whole[name] for name in context.created if name in whole}
    added = {(whole[name], column) for name, column in context.added if name in whole}
    for one in acting:
        if one.table in made or any((one.table, column) in added for column in one.columns):
            continue
        child = definitions.relation(one.table)
        names = (child.row_key if child else ()) or one.columns
        keys, pointing = _listed(names, "newer"), _listed(one.columns, "newer")
        found = (
            f"FROM {one.table} AS newer WHERE ({pointing}) IN (SELECT {_listed(one.targets)} FROM {table} WHERE {new})"
        )
        if one.table == relation.name:
            found += f" AND (({_listed(key, 'newer')}) IN ({values})) IS NOT TRUE"
        yield stop_where_any(
            lock=f"FROM {table} WHERE {new} FOR UPDATE",
            keys=keys,
            found=found,
            complaint=f"rows of {one.table} point at rows that the script inserted into {table}, and would be deleted"
            f" or emptied with them: ({', '.join(names)})",
            hint="delete them, or let them point at other rows, and run the same again; nothing was changed",
        )


def _known(definitions: Definitions, context: Context) -> Iterator[tuple[str, Relation]]:
    """Tables that the script made or added columns to: as it names them, and what they are."""
    for name in sorted({*context.created, *(table for table, _ in context.added)}):
        relation = definitions.relation(name)
        if relation is not None:
            yield name, relation


def _listed(columns: Sequence[str], alias: str = "") -> str:
    return ", ".join(f"{alias}.{quoted(name)}" if alias else quoted(name) for name in columns)


def _keys(relation: Relation) -> list[tuple[str, ...]]:
    """The primary key, and then what else is unique: two rows with the same values cannot be there."""
    unique = [one.columns for one in relation.constraints if one.type == "u"]
    return [key for key in (relation.primary_key, *unique) if key]


def _literal_keys(statement: Tree, relation: Relation, key: tuple[str, ...]) -> list[str] | None:
    values = statement.select_stmt.select_stmt.values_lists
    given = [one.res_target.name for one in statement.cols] or [column.name for column in relation.columns]
    if not values or any(name not in given for name in key):
        return None
    places = [given.index(name) for name in key]
    rows = []
    for row in values:
        items = [row.list.items[place] for place in places]
        if not all(_is_constant(one) for one in items):
            return None
        rows.append(f"({', '.join(expression_text(one) for one in items)})")
    return rows


def _is_constant(value: Tree) -> bool:
    match value.WhichOneof("node"):
        case "a_const":
            return not value.a_const.isnull
        case "type_cast":
            return _is_constant(value.type_cast.arg)
        case "a_expr":  # a negative number
            return value.a_expr.lexpr.WhichOneof("node") is None and _is_constant(value.a_expr.rexpr)
    return False


def reverse_update(tree: Tree, definitions: Definitions | None, context: Context) -> Reverse:
    """UPDATE: the old values come back from saved rows; new columns go with their columns."""
    statement = tree.update_stmt
    table = range_name(statement.relation)
    columns = tuple(one.res_target.name for one in statement.target_list)
    if table in context.created:
        return nothing_to_do(_GOES_WITH_TABLE)
    if all((table, column) in context.added for column in columns):
        # Triggers of the table, which no text tells, may have changed more.
        return nothing_to_do("the script itself added the columns, so their values go with them", certain=False)
    values = f"the old values of {', '.join(columns)} in {table}"
    if not context.saves:
        return irreversible(f"{values} are lost: take them {_FROM_A_BACKUP}")
    relation = definitions.relation(table) if definitions else None
    why = _why_not_touched(tree, relation, table, definitions) or _why_not_set(relation, columns)
    if relation is None or definitions is None or why:
        return irreversible(f"{values} cannot be saved: {why}")
    saved = save_updated(table, relation, columns, _touched(tree, relation), context)
    return _from_saved(saved, "the old values come back from the rows that were saved")


def _why_not_set(relation: Relation | None, columns: tuple[str, ...]) -> str:
    if relation is None:
        return ""
    if set(relation.row_key) & set(columns):
        return "it changes the key that tells the rows apart"
    always = [one.name for one in relation.columns if one.name in columns and (one.generated or one.identity == "a")]
    return f"{', '.join(always)} can only be set by PostgreSQL itself" if always else ""


def reverse_delete(tree: Tree, definitions: Definitions | None, context: Context) -> Reverse:
    """DELETE: the rows come back from where they were saved, with those that foreign keys took along."""
    table = range_name(tree.delete_stmt.relation)
    if table in context.created:
        return nothing_to_do(_GOES_WITH_TABLE)
    if not context.saves:
        return irreversible(f"the deleted rows of {table} are lost: take them {_FROM_A_BACKUP}")
    relation = definitions.relation(table) if definitions else None
    why = _why_not_touched(tree, relation, table, definitions)
    if relation is None or definitions is None or why:
        return irreversible(f"the rows that it deletes cannot be saved: {why}")
    saved = save_deleted(definitions, table, relation, _touched(tree, relation), context)
    return _from_saved(saved, "the deleted rows come back from where they were saved")


def _from_saved(saved: Saved, reason: str) -> Reverse:
    return Reverse(
        statements=saved.restore,
        reversibility=Reversibility.LOSSY if saved.loss else Reversibility.EXACT,
        reason=f"{reason}, but {saved.loss}" if saved.loss else reason,
        save=saved.saving,
    )


def _why_not_touched(tree: Tree, relation: Relation | None, table: str, definitions: Definitions | None) -> str:
    """Why the rows that an UPDATE or DELETE will touch cannot be found before it; empty when they can."""
    statement = getattr(tree, tree.WhichOneof("node"))
    if statement.where_clause.WhichOneof("node") == "current_of_expr":
        return "WHERE CURRENT OF depends on a cursor"
    for one in statement.with_clause.ctes:
        query = one.common_table_expr.ctequery
        if query.WhichOneof("node") != "select_stmt":
            return f"its WITH {one.common_table_expr.ctename} changes rows, too; make that a statement of its own"
    return why_not_saved(relation, table, definitions)


def _touched(tree: Tree, relation: Relation) -> str:
    """A query for the keys of the rows that an UPDATE or DELETE will touch, before it does.

    The statement's own FROM, USING, WITH and WHERE find them, so that whatever it joins is joined here, too.
    """
    node = tree.WhichOneof("node")
    statement = getattr(tree, node)
    query = pb.Node()
    select = query.select_stmt
    select.op = pb.SETOP_NONE
    select.from_clause.add().range_var.CopyFrom(statement.relation)
    for other in statement.from_clause if node == "update_stmt" else statement.using_clause:
        select.from_clause.add().CopyFrom(other)
    if statement.HasField("where_clause"):
        select.where_clause.CopyFrom(statement.where_clause)
    if statement.HasField("with_clause"):
        select.with_clause.CopyFrom(statement.with_clause)
    alias = statement.relation.alias.aliasname or statement.relation.relname
    for one in key_of(relation):
        reference = select.target_list.add().res_target.val.column_ref
        reference.fields.add().string.sval = alias
        reference.fields.add().string.sval = one.name
    return statement_text(query)


def reverse_truncate(tree: Tree, definitions: Definitions | None, context: Context) -> Reverse:
    """TRUNCATE: all rows come back from where they were saved."""
    tables = [range_name(one.range_var) for one in tree.truncate_stmt.relations]
    if all(table in context.created for table in tables):
        return nothing_to_do(_GOES_WITH_TABLE)
    if not context.saves or definitions is None:
        return irreversible(f"all rows of {', '.join(tables)} are lost: take them {_FROM_A_BACKUP}")
    if tree.truncate_stmt.behavior == pb.DROP_CASCADE:
        return irreversible("TRUNCATE … CASCADE also empties tables that it does not name; name them, and save them")
    for table in tables:
        relation = definitions.relation(table)
        if relation is None or (relation.kind == "r" and definitions.descendants(table)):
            return irreversible(f"other tables inherit from {table} and are emptied with it; name them with ONLY")
    positions = tree.truncate_stmt.restart_seqs
    saved = [save_table(definitions, table, context, stays=True, positions=positions) for table in tables]
    losses = [f"triggers of {table} may have done more" for table in tables if _fires(definitions, table)]
    return Reverse(
        statements=tuple(text for at in _referenced_first(definitions, tables) for text in saved[at].restore),
        reversibility=Reversibility.LOSSY if losses else Reversibility.EXACT,
        reason="; ".join(["all rows come back from where they were saved", *losses]),
        save=sum((one.saving for one in saved), Saving()),
    )


def _referenced_first(definitions: Definitions, tables: Sequence[str]) -> list[int]:
    """The places of tables in an order in which their rows can come back; as they stand where keys go in a circle."""
    relations = [definitions.relation(table) for table in tables]
    places = {one.name: at for at, one in enumerate(relations) if one is not None}
    order: TopologicalSorter[int] = TopologicalSorter(dict.fromkeys(range(len(tables)), ()))
    for at, relation in enumerate(relations):
        for reference in relation.references if relation is not None else ():
            if places.get(reference.table, at) != at:
                order.add(places[reference.table], at)
    try:
        return list(order.static_order())
    except CycleError:
        return list(range(len(tables)))


def _fires(definitions: Definitions, table: str) -> bool:
    relation = definitions.relation(table)
    return relation is not None and bool(firing(relation, TRUNCATE))


def reverse_copy(tree: Tree, definitions: Definitions | None, context: Context) -> Reverse:  # noqa: ARG001
    """COPY … FROM adds rows; COPY … TO only reads."""
    statement = tree.copy_stmt
    if not statement.is_from:
        return nothing_to_do("it only reads")
    table = range_name(statement.relation)
    if table in context.created:
        return nothing_to_do(_GOES_WITH_TABLE)
    return irreversible(f"which rows of {table} were new is not known afterwards")


def reverse_merge(tree: Tree, definitions: Definitions | None, context: Context) -> Reverse:  # noqa: ARG001
    """MERGE inserts, updates and deletes at once."""
    table = range_name(tree.merge_stmt.relation)
    if table in context.created:
        return nothing_to_do(_GOES_WITH_TABLE)
    return irreversible(f"what MERGE changes in {table} is lost: take it {_FROM_A_BACKUP}")


# Functions that leave nothing behind which a way back would have to take away.
_HARMLESS = frozenset(
    {
        "set_config",
        "current_setting",
        "now",
        "version",
        "count",
        "pg_advisory_lock",
        "pg_advisory_unlock",
        "pg_advisory_xact_lock",
        "pg_notify",
        "pg_sleep",
        "to_regclass",
    }
)


def reverse_select(tree: Tree, definitions: Definitions | None, context: Context) -> Reverse:  # noqa: ARG001
    """SELECT only reads, unless a function that it calls writes."""
    called = sorted(set(_functions(tree)))
    if any(name in {"setval", "nextval"} for name in called):
        return irreversible("the old position of the sequence is not known afterwards")
    unknown = [name for name in called if name not in _HARMLESS]
    if unknown:
        return irreversible(f"what the functions {', '.join(unknown)} change cannot be told from the statement")
    return nothing_to_do("it only reads")


def _functions(message: Tree) -> Iterator[str]:
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for child in value if field.is_repeated else (value,):
            if field.name == "func_call":
                yield child.funcname[-1].string.sval
            yield from _functions(child)
