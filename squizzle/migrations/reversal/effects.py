"""What a statement changes besides what its kind says: within it, by functions that it calls, by triggers. Pure.

A way back that knows nothing of it must not be called exact, for a scratch copy has no rows that would show it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from postgast import pg_query_pb2 as pb

from squizzle.analysis.grammar import Tree
from squizzle.migrations.reversal.context import Context
from squizzle.migrations.reversal.definitions import Definitions
from squizzle.migrations.reversal.records import Reverse, Reversibility
from squizzle.migrations.reversal.saving import DELETE, INSERT, UPDATE, firing
from squizzle.migrations.reversal.trees import dotted, range_name, strings

_CHANGES = frozenset({"insert_stmt", "update_stmt", "delete_stmt", "merge_stmt"})
_EVENTS = {"insert_stmt": INSERT, "update_stmt": UPDATE, "delete_stmt": DELETE}
# They compute something while they run; what others contain (CREATE FUNCTION, a DEFAULT) runs later, or never.
_COMPUTES = _CHANGES | {"select_stmt", "copy_stmt", "create_table_as_stmt"}
_COMPUTES_FOR_ROWS = frozenset({pb.AT_AddColumn, pb.AT_AlterColumnType})


def with_effects(reverse: Reverse, tree: Tree, definitions: Definitions | None, context: Context) -> Reverse:
    """The same way back, no longer exact where the statement changes more than it takes back.

    Args:
        reverse: The way back of the statement by its kind.
        tree: The statement.
        definitions: Of the database before it; None when there is none, and only the text is looked at.
        context: What earlier statements of the script did.
    """
    found = tuple(dict.fromkeys(_effects(tree, definitions, context)))
    return _capped(reverse, "; ".join(found)) if found else reverse


def _capped(reverse: Reverse, reason: str) -> Reverse:
    if reverse.reversibility is Reversibility.NONE:
        return reverse
    worst = Reversibility.LOSSY if reverse.statements else Reversibility.NONE
    otherwise = _capped(reverse.otherwise, reason) if reverse.otherwise else None
    return replace(
        reverse, reversibility=worst, reason=f"{reason}; {reverse.reason}", certain=False, otherwise=otherwise
    )


def _effects(tree: Tree, definitions: Definitions | None, context: Context) -> Iterator[str]:
    kind = tree.WhichOneof("node")
    for changed in _changed_within(tree, kind):
        if changed not in context.created:
            yield f"what it changes in {changed} on the way does not come back"
    if definitions is None:
        return
    called = tuple(dict.fromkeys(_called(tree, kind)))
    for name in definitions.writing(called) if called else ():
        yield f"what the function {dotted(name)} changes does not come back"
    if kind in _EVENTS:
        yield from _triggers(range_name(getattr(tree, kind).relation), _EVENTS[kind], definitions, context)


def _changed_within(tree: Tree, kind: str) -> Iterator[str]:
    """The tables that statements within this one (WITH, COPY) change."""
    if kind in _COMPUTES:
        yield from (range_name(node.relation) for name, node in _nodes(getattr(tree, kind)) if name in _CHANGES)


def _called(tree: Tree, kind: str) -> Iterator[tuple[str, ...]]:
    parts = [tree] if kind in _COMPUTES else []
    if kind == "alter_table_stmt":
        commands = [one.alter_table_cmd for one in tree.alter_table_stmt.cmds]
        parts = [getattr(one, "def") for one in commands if one.subtype in _COMPUTES_FOR_ROWS]
    for part in parts:
        yield from (strings(node.funcname) for name, node in _nodes(part) if name == "func_call")


def _triggers(table: str, event: int, definitions: Definitions, context: Context) -> Iterator[str]:
    """Those that the ways back of rows do not see: of partitions, and where values of a new column go with it."""
    if table in context.created:
        return
    added = any(relation == table for relation, _ in context.added)
    for name in (*((table,) if added else ()), *definitions.descendants(table)):
        relation = definitions.relation(name)
        for one in firing(relation, event) if relation else ():
            yield f"what the trigger {one.name} of {name} changes does not come back"


def _nodes(message: Tree) -> Iterator[tuple[str, Tree]]:
    """All nodes below this one, each with what it is."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for child in value if field.is_repeated else (value,):
            yield field.name, child
            yield from _nodes(child)
