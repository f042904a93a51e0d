"""What has to run around a statement so that its rows can come back: the same that its way back counts on. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from postgast import pg_query_pb2 as pb

from squizzle.analysis.grammar import Tree, parse_statement
from squizzle.analysis.records import Statement
from squizzle.migrations.reversal import dropping, rows
from squizzle.migrations.reversal.alter_columns import save_dropped
from squizzle.migrations.reversal.alter_parts import Altered
from squizzle.migrations.reversal.alter_table import altered_relation
from squizzle.migrations.reversal.context import Context
from squizzle.migrations.reversal.definitions import Definitions
from squizzle.migrations.reversal.records import Reverse, Reversibility, Saving
from squizzle.migrations.reversal.trees import address_of, dotted

_TOUCHES = {
    "update_stmt": rows.reverse_update,
    "delete_stmt": rows.reverse_delete,
    "truncate_stmt": rows.reverse_truncate,
    "merge_stmt": rows.reverse_merge,
}


def saving_of(sql: str, definitions: Definitions, context: Context) -> tuple[Saving, str]:
    """What keeps the rows that a statement touches; and why it cannot be done, empty when it can, or need not be.

    Args:
        sql: The statement.
        definitions: Of the database right before it.
        context: What earlier statements of the script did; says that rows are saved.
    """
    tree = parse_statement(sql)
    if tree is None:
        return Saving(), "the statement cannot be read"
    kind = tree.WhichOneof("node")
    if kind in _TOUCHES:
        return _of_reverse(_TOUCHES[kind](tree, definitions, context))
    if kind == "drop_stmt":
        return _of_drop(tree.drop_stmt, definitions, context)
    if kind == "alter_table_stmt":
        return _of_columns(tree, definitions, context)
    return Saving(), _other(tree)


def contexts_of(statements: Sequence[Statement], start: Context) -> Iterator[Context]:
    """What holds before each statement of a script."""
    context = start
    for statement in statements:
        yield context
        context = context.after(parse_statement(statement.sql))


def _of_reverse(reverse: Reverse) -> tuple[Saving, str]:
    if reverse.save or reverse.reversibility is not Reversibility.NONE:
        return reverse.save, ""
    return Saving(), reverse.reason


def _of_drop(statement: Tree, definitions: Definitions, context: Context) -> tuple[Saving, str]:
    addresses = [address_of(statement.remove_type, item) for item in statement.objects]
    there = [one for one in addresses if one is not None and definitions.exists(one)]
    saved = dropping.save_dropped(statement, definitions, there, context)
    if saved or statement.remove_type != pb.OBJECT_TABLE or not there:
        return sum((one.saving for one in saved), Saving()), ""
    relations = [definitions.relation(dotted(one.names)) for one in there]
    holds_rows = any(one is not None and one.kind == "r" for one in relations)
    return Saving(), "CASCADE also takes columns of tables that stay" if holds_rows else ""


def _of_columns(tree: Tree, definitions: Definitions, context: Context) -> tuple[Saving, str]:
    altered = altered_relation(tree, definitions, context)
    if altered is None:
        return Saving(), ""
    saving = Saving()
    for command in tree.alter_table_stmt.cmds:
        one = command.alter_table_cmd
        column = altered.relation.column(one.name) if one.subtype == pb.AT_DropColumn else None
        if column is None or column.generated or (altered.name, one.name) in context.added:
            continue
        if altered.name in context.created:
            continue
        found = save_dropped(column, altered).saving
        if not found:
            return Saving(), _why(altered, one.name)
        saving += found
    return saving, ""


def _why(altered: Altered, column: str) -> str:
    if column in altered.relation.row_key:
        return f"{column} is part of the key that tells the rows apart"
    return f"no key of {altered.name} tells all its rows apart"


def _other(tree: Tree) -> str:
    """A query whose WITH changes rows."""
    statement = getattr(tree, tree.WhichOneof("node"))
    if not hasattr(statement, "with_clause"):
        return ""
    for one in statement.with_clause.ctes:
        if one.common_table_expr.ctequery.WhichOneof("node") not in {"select_stmt", "insert_stmt"}:
            return f"its WITH {one.common_table_expr.ctename} changes rows; make that a statement of its own"
    return ""
