"""The way back of statements that change rows. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from squizzle.analysis.grammar import Tree
from squizzle.migrations.reversal.context import Context
from squizzle.migrations.reversal.definitions import Definitions, Relation
from squizzle.migrations.reversal.records import Reverse, exact, irreversible, lossy, nothing_to_do
from squizzle.migrations.reversal.saving import save_query, save_table, saved_name, stored_columns
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
    if relation is None or not relation.primary_key:
        return irreversible(f"no primary key of {table} is known that would tell the new rows from others")
    keys = _literal_keys(statement, relation)
    if keys is None:
        key = ", ".join(relation.primary_key)
        return irreversible(f"the keys ({key}) of the new rows of {table} are not written in the statement")
    columns = ", ".join(quoted(name) for name in relation.primary_key)
    return exact(
        f"DELETE FROM {table} WHERE ({columns}) IN ({', '.join(keys)})",
        reason="the new rows are deleted by their keys; sequences keep their positions",
    )


def _literal_keys(statement: Tree, relation: Relation) -> list[str] | None:
    values = statement.select_stmt.select_stmt.values_lists
    given = [one.res_target.name for one in statement.cols] or [column.name for column in relation.columns]
    if not values or any(name not in given for name in relation.primary_key):
        return None
    places = [given.index(name) for name in relation.primary_key]
    rows = []
    for row in values:
        key = [row.list.items[place] for place in places]
        if not all(_is_constant(one) for one in key):
            return None
        rows.append(f"({', '.join(expression_text(one) for one in key)})")
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
    columns = [one.res_target.name for one in statement.target_list]
    if table in context.created:
        return nothing_to_do(_GOES_WITH_TABLE)
    if all((table, column) in context.added for column in columns):
        return nothing_to_do("the script itself added the columns, so their values go with them")
    relation = definitions.relation(table) if definitions else None
    values = f"the old values of {', '.join(columns)} in {table}"
    if not context.save_as:
        return irreversible(f"{values} are lost: take them {_FROM_A_BACKUP}")
    key = relation.primary_key if relation else ()
    if relation is None or not key or set(key) & set(columns):
        return irreversible(f"{values} cannot be brought back: the rows keep no primary key that would tell them apart")
    where = saved_name(context, table)
    kept = ", ".join(quoted(name) for name in dict.fromkeys((*key, *columns)))
    there = ", ".join(f"{quoted(name)} = saved.{quoted(name)}" for name in columns)
    same = " AND ".join(f"t.{quoted(name)} = saved.{quoted(name)}" for name in key)
    return Reverse(
        statements=(f"UPDATE {table} AS t SET {there} FROM {where} AS saved WHERE {same}", f"DROP TABLE {where}"),
        reason="the old values come back from the rows that were saved before",
        save=save_query(context, table, _touched(tree, kept, key)),
    )


def reverse_delete(tree: Tree, definitions: Definitions | None, context: Context) -> Reverse:
    """DELETE: the rows come back from where they were saved."""
    statement = tree.delete_stmt
    table = range_name(statement.relation)
    if table in context.created:
        return nothing_to_do(_GOES_WITH_TABLE)
    if not context.save_as:
        return irreversible(f"the deleted rows of {table} are lost: take them {_FROM_A_BACKUP}")
    relation = definitions.relation(table) if definitions else None
    if relation is None or not relation.primary_key:
        return irreversible(f"{table} has no primary key that would tell its rows apart")
    columns, where = stored_columns(relation), saved_name(context, table)
    overriding = " OVERRIDING SYSTEM VALUE" if any(column.identity for column in relation.columns) else ""
    return lossy(
        f"INSERT INTO {table} ({columns}){overriding} SELECT {columns} FROM {where}",
        f"DROP TABLE {where}",
        reason="the deleted rows come back from where they were saved, but not rows of other tables that a foreign key"
        " deleted or emptied with them",
    ).with_save(save_query(context, table, _touched(tree, columns, relation.primary_key)))


def _touched(tree: Tree, columns: str, key: tuple[str, ...]) -> str:
    """A query for the rows that an UPDATE or DELETE will touch, before it does.

    The statement's own FROM, USING, WITH and WHERE find the keys, so that whatever it joins is joined here, too.
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
    for name in key:
        reference = select.target_list.add().res_target.val.column_ref
        reference.fields.add().string.sval = alias
        reference.fields.add().string.sval = name
    names = ", ".join(quoted(name) for name in key)
    return f"SELECT {columns} FROM {range_name(statement.relation)} WHERE ({names}) IN ({statement_text(query)})"


def reverse_truncate(tree: Tree, definitions: Definitions | None, context: Context) -> Reverse:
    """TRUNCATE: all rows come back from where they were saved."""
    tables = [range_name(one.range_var) for one in tree.truncate_stmt.relations]
    if all(table in context.created for table in tables):
        return nothing_to_do(_GOES_WITH_TABLE)
    if not context.save_as or definitions is None:
        return irreversible(f"all rows of {', '.join(tables)} are lost: take them {_FROM_A_BACKUP}")
    if tree.truncate_stmt.behavior == pb.DROP_CASCADE:
        return irreversible("TRUNCATE … CASCADE also empties tables that it does not name; name them, and save them")
    saved = [save_table(definitions, table, context, part=part) for part, table in enumerate(tables, start=1)]
    return exact(
        *(text for one in saved for text in one.restore), reason="all rows come back from where they were saved"
    ).with_save(tuple(text for one in saved for text in one.save))


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
