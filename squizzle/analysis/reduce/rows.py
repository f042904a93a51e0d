"""Statements about rows, and how far they reach."""

from __future__ import annotations

from collections.abc import Iterator

from postgast import pg_query_pb2 as pg

from squizzle.analysis.actions import Action, CallFunction
from squizzle.analysis.grammar import Tree
from squizzle.analysis.locks.tree import name_of
from squizzle.analysis.reduce.columns import functions_called
from squizzle.analysis.reduce.conditions import always_holds
from squizzle.analysis.row_actions import ChangeRows, Copy, Reach, Truncate, Verb

_VERBS = {
    "insert_stmt": Verb.INSERT,
    "update_stmt": Verb.UPDATE,
    "delete_stmt": Verb.DELETE,
    "merge_stmt": Verb.MERGE,
}


def change_rows(tree: Tree) -> Iterator[Action]:
    """INSERT, UPDATE, DELETE, MERGE, SELECT and WITH: what they change, also inside common table expressions."""
    kind = tree.WhichOneof("node")
    statement = getattr(tree, kind)
    for one in statement.with_clause.ctes:
        yield from change_rows(one.common_table_expr.ctequery)
    if kind in _VERBS:
        yield _change(statement, _VERBS[kind])
    for name in functions_called(tree):
        yield CallFunction(name=name)


def _change(statement: Tree, verb: Verb) -> ChangeRows:
    columns = statement.target_list if verb is Verb.UPDATE else statement.cols if verb is Verb.INSERT else ()
    from_query = verb is Verb.INSERT and not statement.select_stmt.select_stmt.values_lists
    return ChangeRows(
        table=name_of(statement.relation),
        verb=verb,
        reach=_reach(statement, verb),
        columns=tuple(one.res_target.name for one in columns),
        sets_parts=any(one.res_target.indirection for one in columns),
        from_query=from_query and statement.HasField("select_stmt"),
        location=statement.relation.location,
    )


def _reach(statement: Tree, verb: Verb) -> Reach:
    if verb is Verb.INSERT:
        source = statement.select_stmt.select_stmt
        is_limited = source.HasField("where_clause") or source.HasField("limit_count")
        return Reach.ALL if source.from_clause and not is_limited else Reach.SOME
    if verb is Verb.MERGE:
        return Reach.ALL_BY_A_CONSTANT if _merges_all(statement) else Reach.SOME
    if not statement.HasField("where_clause"):
        # A join without a condition reaches every row as well.
        return Reach.ALL
    return Reach.ALL_BY_A_CONSTANT if always_holds(statement.where_clause) else Reach.SOME


def _merges_all(statement: Tree) -> bool:
    """Whether rows are changed or deleted whatever they hold."""
    changes = (pg.CMD_UPDATE, pg.CMD_DELETE)
    return always_holds(statement.join_condition) and any(
        one.merge_when_clause.command_type in changes and not one.merge_when_clause.HasField("condition")
        for one in statement.merge_when_clauses
    )


def truncate(tree: Tree) -> Iterator[Action]:
    """TRUNCATE."""
    yield Truncate(
        tables=tuple(name_of(one.range_var) for one in tree.relations),
        cascade=tree.behavior == pg.DROP_CASCADE,
        restart_identity=tree.restart_seqs,
    )


def prepare(tree: Tree) -> Iterator[Action]:
    """PREPARE: what EXECUTE will do."""
    yield from query_in(tree.query)


def explain(tree: Tree) -> Iterator[Action]:
    """EXPLAIN; with ANALYZE the statement runs."""
    said = [one.def_elem.arg for one in tree.options if one.def_elem.defname == "analyze"]
    if said and not _is_off(said[-1]):
        yield from query_in(tree.query)


def _is_off(argument: Tree) -> bool:
    """`ANALYZE off`, `false` or 0."""
    is_zero = argument.HasField("integer") and argument.integer.ival == 0
    return is_zero or argument.string.sval.lower() in {"off", "false"}


def query_in(tree: Tree) -> Iterator[Action]:
    """What the query inside another statement changes; EXECUTE was looked at where it was prepared."""
    if tree.WhichOneof("node") in {*_VERBS, "select_stmt"}:
        yield from change_rows(tree)


def returned(tree: Tree) -> Iterator[Action]:
    """RETURN in the body of a function."""
    for name in functions_called(tree.returnval):
        yield CallFunction(name=name)


def copy(tree: Tree) -> Iterator[Action]:
    """COPY."""
    yield from query_in(tree.query)
    yield Copy(
        table=name_of(tree.relation) if tree.HasField("relation") else None,
        is_from=tree.is_from,
        is_program=tree.is_program,
        is_file=bool(tree.filename) and not tree.is_program,
    )
