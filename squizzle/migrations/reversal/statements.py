"""One statement, and its way back. Pure: everything about the database comes from `Definitions`."""

from __future__ import annotations

from squizzle.analysis.grammar import Tree, parse_statement
from squizzle.migrations.reversal import alter_table, creating, dropping, naming, privileges, rows, types
from squizzle.migrations.reversal.context import Context
from squizzle.migrations.reversal.definitions import Definitions
from squizzle.migrations.reversal.effects import with_effects
from squizzle.migrations.reversal.others import OTHERS, Handler
from squizzle.migrations.reversal.records import Reverse, irreversible

_HANDLERS: dict[str, Handler] = {
    **OTHERS,
    **dict.fromkeys(creating.CREATES, creating.reverse_create),
    "alter_default_privileges_stmt": privileges.reverse_default_privileges,
    "alter_domain_stmt": types.reverse_domain,
    "alter_enum_stmt": types.reverse_enum,
    "alter_object_depends_stmt": naming.reverse_depends,
    "alter_object_schema_stmt": naming.reverse_set_schema,
    "alter_owner_stmt": naming.reverse_owner,
    "alter_table_stmt": alter_table.reverse_alter_table,
    "comment_stmt": naming.reverse_comment,
    "copy_stmt": rows.reverse_copy,
    "create_schema_stmt": creating.reverse_schema,
    "create_user_mapping_stmt": creating.reverse_user_mapping,
    "delete_stmt": rows.reverse_delete,
    "drop_stmt": dropping.reverse_drop,
    "grant_role_stmt": privileges.reverse_membership,
    "grant_stmt": privileges.reverse_grant,
    "index_stmt": creating.reverse_index,
    "insert_stmt": rows.reverse_insert,
    "merge_stmt": rows.reverse_merge,
    "rename_stmt": naming.reverse_rename,
    "select_stmt": rows.reverse_select,
    "truncate_stmt": rows.reverse_truncate,
    "update_stmt": rows.reverse_update,
}


def reverse_statement(sql: str, definitions: Definitions | None, context: Context) -> tuple[Reverse, Context]:
    """The way back of one statement, and what its successors have to know of it.

    Args:
        sql: One statement.
        definitions: Of the database before it; None when there is no database to look at.
        context: What earlier statements of the script did.
    """
    tree = parse_statement(sql)
    if tree is None:
        reason = "the statement cannot be read: it is too long, or not in the grammar of PostgreSQL 18"
        return irreversible(reason), context.after(None)
    reverse = with_effects(_reverse_tree(tree, definitions, context), tree, definitions, context)
    return reverse.under(context.path), context.after(tree)


def _reverse_tree(tree: Tree, definitions: Definitions | None, context: Context) -> Reverse:
    kind = tree.WhichOneof("node")
    handler = _HANDLERS.get(kind)
    if handler is None:
        return irreversible(f"the way back of {kind.removesuffix('_stmt').replace('_', ' ')} is not known")
    return handler(tree, definitions, context)
