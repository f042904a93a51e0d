"""Statements about rows, and how far they reach."""

from __future__ import annotations

from collections.abc import Iterator

from postgast import pg_query_pb2 as pg

from squizzle.analysis.actions import Action, CallFunction, ChangeRows, Copy, Reach, Truncate, Verb
from squizzle.analysis.grammar import Tree
from squizzle.analysis.locks.tree import name_of
from squizzle.analysis.reduce.columns import functions_called

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
        return Reach.SOME
    if not statement.HasField("where_clause"):
        # A join without a condition reaches every row as well.
        return Reach.ALL
    return Reach.ALL_BY_A_CONSTANT if _always_holds(statement.where_clause) else Reach.SOME


def _always_holds(condition: Tree) -> bool:
    """Whether a condition holds for every row, told from its shape: `true`, `1 = 1`, `a OR true`, `true AND true`."""
    if condition.HasField("a_const"):
        return bool(condition.a_const.boolval.boolval)
    if condition.HasField("bool_expr"):
        parts = [_always_holds(part) for part in condition.bool_expr.args]
        if condition.bool_expr.boolop == pg.AND_EXPR:
            return all(parts)
        return condition.bool_expr.boolop == pg.OR_EXPR and any(parts)
    if condition.HasField("a_expr"):
        expression = condition.a_expr
        both = expression.lexpr.HasField("a_const") and expression.rexpr.HasField("a_const")
        is_equal = [part.string.sval for part in expression.name] == ["="]
        return both and is_equal and _same(expression.lexpr.a_const, expression.rexpr.a_const)
    return False


def _same(left: Tree, right: Tree) -> bool:
    kind = left.WhichOneof("val")
    return kind is not None and kind == right.WhichOneof("val") and getattr(left, kind) == getattr(right, kind)


def truncate(tree: Tree) -> Iterator[Action]:
    """TRUNCATE."""
    yield Truncate(
        tables=tuple(name_of(one.range_var) for one in tree.relations),
        cascade=tree.behavior == pg.DROP_CASCADE,
        restart_identity=tree.restart_seqs,
    )


def copy(tree: Tree) -> Iterator[Action]:
    """COPY."""
    yield Copy(
        table=name_of(tree.relation) if tree.HasField("relation") else None,
        is_from=tree.is_from,
        is_program=tree.is_program,
        is_file=bool(tree.filename) and not tree.is_program,
    )
