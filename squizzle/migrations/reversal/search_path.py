"""Where unqualified names are found, when the script itself changes that. Pure.

A way back runs in a session of its own, so it has to set the search_path that its statement had; without it, a DROP of
an unqualified name could meet somebody else's table.
"""

from __future__ import annotations

from collections.abc import Iterable

from postgast import pg_query_pb2 as pb

from squizzle.analysis.grammar import Tree, parse_statement
from squizzle.migrations.reversal.trees import changed, literal, quoted, statement_text

_NAME = "search_path"
_RESET = f"RESET {_NAME}"


def path_after(tree: Tree) -> str | None:
    """The statement that sets the search_path as this one does; None when it does not touch it."""
    match tree.WhichOneof("node"):
        case "variable_set_stmt":
            return _set(tree)
        case "discard_stmt" if tree.discard_stmt.target == pb.DISCARD_ALL:
            return _RESET
        case "select_stmt":
            return _configured(tree)
        case _:
            return None


def _set(tree: Tree) -> str | None:
    statement = tree.variable_set_stmt
    if statement.kind == pb.VAR_RESET_ALL:
        return _RESET
    if statement.name != _NAME:
        return None
    if statement.kind != pb.VAR_SET_VALUE:
        return _RESET
    lasting = changed(tree)
    lasting.variable_set_stmt.is_local = False
    return statement_text(lasting)


def _configured(tree: Tree) -> str | None:
    """SELECT set_config('search_path', …), which begins every dump."""
    for target in tree.select_stmt.target_list:
        call = target.res_target.val.func_call
        if len(call.args) > 1 and call.funcname[-1].string.sval == "set_config":
            name, value = (argument.a_const.sval.sval for argument in call.args[:2])
            if name == _NAME:
                return f"SELECT pg_catalog.set_config({literal(_NAME)}, {literal(value)}, false)"
    return None


def first_path(statements: Iterable[str], *, schema: str) -> str:
    """What sets the search_path that a script begins with; empty when it never changes it.

    Args:
        statements: Of the script.
        schema: That the script works in.
    """
    trees = (parse_statement(text) for text in statements)
    if not any(tree is not None and path_after(tree) for tree in trees):
        return ""
    return _RESET if schema == "public" else f"SET {_NAME} = {quoted(schema)}, public"
