"""Whether the condition of a rule may be run at all: one SELECT, and nothing in it that changes something. Pure.

It is run in a read-only transaction that is rolled back besides. What is refused here is what a person should hear of
when the file is read, and what no rollback takes back: functions that end sessions, or reload the configuration.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from squizzle.analysis.grammar import Tree, Unparsed, read_statement
from squizzle.analysis.statements import split_statements
from squizzle.errors import InvalidInputError

_WRITES = {"InsertStmt": "INSERT", "UpdateStmt": "UPDATE", "DeleteStmt": "DELETE", "MergeStmt": "MERGE"}
_ACTS = frozenset(
    {
        "dblink_exec",
        "lo_import",
        "lo_export",
        "nextval",
        "pg_backup_start",
        "pg_backup_stop",
        "pg_cancel_backend",
        "pg_create_restore_point",
        "pg_drop_replication_slot",
        "pg_promote",
        "pg_reload_conf",
        "pg_rotate_logfile",
        "pg_start_backup",
        "pg_stat_reset",
        "pg_stat_statements_reset",
        "pg_stop_backup",
        "pg_switch_wal",
        "pg_terminate_backend",
        "setval",
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """A condition as it was read.

    Attributes:
        sql: One statement without its semicolon; empty when there is none.
        problems: Why it may not be run: the line in its text, from 1, and a clause each.
    """

    sql: str
    problems: tuple[tuple[int, str], ...] = ()


def read_condition(text: str) -> Condition:
    """Take a condition apart.

    Args:
        text: As it stands in the file.
    """
    try:
        statements = split_statements(text, source="condition")
    except InvalidInputError as exc:
        return Condition(sql="", problems=((1, f"cannot be read: {exc.message}"),))
    if not statements:
        return Condition(sql="", problems=((1, "is empty; it must be one SELECT that gives a boolean"),))
    first = statements[0]
    if len(statements) > 1:
        line = statements[1].line
        return Condition(sql=first.sql, problems=((line, "has a second statement; it must be one SELECT"),))
    tree = read_statement(first.sql)
    if isinstance(tree, Unparsed):
        line = first.line + first.sql.encode()[: tree.location].count(b"\n")
        return Condition(sql=first.sql, problems=((line, f"cannot be used: {tree.reason}"),))
    return Condition(sql=first.sql, problems=tuple((first.line, problem) for problem in _problems(tree)))


def _problems(tree: Tree) -> Iterator[str]:
    kind = tree.WhichOneof("node")
    if kind != "select_stmt":
        yield "must be a SELECT"
        return
    yield from dict.fromkeys(one for one in map(_of_node, _nodes(tree)) if one)
    columns = _columns(tree.select_stmt)
    if columns is not None and columns != 1:
        yield f"gives {columns} columns; it must give one, a boolean"


def _of_node(node: Tree) -> str:
    name = node.DESCRIPTOR.name
    if name in _WRITES:
        return f"must only read: it has {_WRITES[name]}"
    if name == "IntoClause":
        return "must only read: SELECT INTO makes a table"
    if name == "LockingClause":
        return "must only read: FOR UPDATE and its like lock rows"
    if name == "ParamRef":
        return "has a parameter ($1), and nobody gives it a value"
    if name == "FuncCall":
        called = str(node.funcname[-1].string.sval) if node.funcname else ""
        return f"must only read: {called} does something that no rollback takes back" if called in _ACTS else ""
    return ""


def _columns(select: Tree) -> int | None:
    """How many columns it gives; None where only the server knows."""
    while select.HasField("larg"):
        select = select.larg
    if select.values_lists:
        return len(select.values_lists[0].list.items)
    for target in select.target_list:
        value = target.res_target.val
        if value.WhichOneof("node") == "column_ref" and any(
            field.WhichOneof("node") == "a_star" for field in value.column_ref.fields
        ):
            return None
    return len(select.target_list)


def _nodes(root: Tree) -> Iterator[Tree]:
    """The message and every one in it."""
    stack = [root]
    while stack:
        node = stack.pop()
        yield node
        for field, value in node.ListFields():
            if field.message_type is not None:
                stack.extend(value if field.is_repeated else [value])
