"""Conditions that hold for every row, told from their shape: `true`, `1 = 1`, `id = id`, `a OR true`."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal, InvalidOperation

from postgast import pg_query_pb2 as pg

from squizzle.analysis.grammar import Tree

_Value = bool | str | Decimal

_COMPARE: Mapping[str, Callable[[_Value, _Value], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}
# They hold for a column and itself, but where it is NULL; who writes that means every row.
_REFLEXIVE = frozenset({"=", "<=", ">="})
_BOOLEANS = dict.fromkeys(("t", "true", "y", "yes", "on", "1"), True)
_BOOLEANS |= dict.fromkeys(("f", "false", "n", "no", "off", "0"), False)


def always_holds(condition: Tree) -> bool:
    """Whether a condition holds for every row. False also when its shape does not tell.

    Args:
        condition: An expression node.
    """
    return _truth(condition) is True


def _truth(condition: Tree) -> bool | None:
    """None when the shape does not tell."""
    reader = _READERS.get(condition.WhichOneof("node"))
    if reader is not None:
        return reader(getattr(condition, condition.WhichOneof("node")))
    value = _value(condition)
    return value if isinstance(value, bool) else None


def _of_boolean(expression: Tree) -> bool | None:
    truths = [_truth(part) for part in expression.args]
    if expression.boolop == pg.NOT_EXPR:
        return None if truths[0] is None else not truths[0]
    decisive = bool(expression.boolop == pg.OR_EXPR)
    if decisive in truths:
        return decisive
    if decisive and _asks_both_ways(expression.args):
        return True
    return None if None in truths else not decisive


def _asks_both_ways(parts: Iterable[Tree]) -> bool:
    """`a IS NULL OR a IS NOT NULL`."""
    tests = [part.null_test for part in parts if part.HasField("null_test")]
    asked = {(test.nulltesttype, _column(test.arg)) for test in tests if _column(test.arg)}
    return any((pg.IS_NOT_NULL, column) in asked for kind, column in asked if kind == pg.IS_NULL)


def _of_comparison(expression: Tree) -> bool | None:
    sign = expression.name[-1].string.sval if expression.name else ""
    if expression.kind == pg.AEXPR_IN:
        value, among = _value(expression.lexpr), [_value(one) for one in expression.rexpr.list.items]
        return sign == "=" if value is not None and value in among else None
    if expression.kind != pg.AEXPR_OP or sign not in _COMPARE:
        return None
    left, right = _value(expression.lexpr), _value(expression.rexpr)
    if left is None or right is None:
        column = _column(expression.lexpr)
        return True if column and column == _column(expression.rexpr) and sign in _REFLEXIVE else None
    return _COMPARE[sign](left, right) if type(left) is type(right) else None


def _of_null_test(test: Tree) -> bool | None:
    return test.nulltesttype == pg.IS_NOT_NULL if _value(test.arg) is not None else None


_BOOLEAN_TESTS = {
    pg.IS_TRUE: (True, True),
    pg.IS_NOT_TRUE: (True, False),
    pg.IS_FALSE: (False, True),
    pg.IS_NOT_FALSE: (False, False),
}


def _of_boolean_test(test: Tree) -> bool | None:
    truth = _truth(test.arg)
    if truth is None or test.booltesttype not in _BOOLEAN_TESTS:
        return None
    asked, wanted = _BOOLEAN_TESTS[test.booltesttype]
    return (truth is asked) is wanted


def _of_query(link: Tree) -> bool | None:
    select = link.subselect.select_stmt
    if not _is_one_row(select):
        return None
    if link.sub_link_type == pg.EXISTS_SUBLINK:
        return True
    return _truth(select.target_list[0].res_target.val) if link.sub_link_type == pg.EXPR_SUBLINK else None


def _is_one_row(select: Tree) -> bool:
    """SELECT of an expression and nothing else."""
    parts = {field.name for field, _ in select.ListFields()}
    is_plain = parts == {"target_list", "limit_option", "op"} and select.op == pg.SETOP_NONE
    return is_plain and len(select.target_list) == 1


_READERS: Mapping[str | None, Callable[[Tree], bool | None]] = {
    "bool_expr": _of_boolean,
    "a_expr": _of_comparison,
    "null_test": _of_null_test,
    "boolean_test": _of_boolean_test,
    "sub_link": _of_query,
}


def _value(node: Tree) -> _Value | None:
    """What a constant is; None for NULL and for anything else."""
    if node.HasField("type_cast"):
        names = [name.string.sval for name in node.type_cast.type_name.names]
        value = _value(node.type_cast.arg)
        return _BOOLEANS.get(value.strip().lower()) if names[-1:] == ["bool"] and isinstance(value, str) else None
    constant = node.a_const
    kind = constant.WhichOneof("val")
    if kind == "boolval":
        return bool(constant.boolval.boolval)
    if kind == "sval":
        return str(constant.sval.sval)
    return _number(constant) if kind in {"ival", "fval"} else None


def _number(constant: Tree) -> Decimal | None:
    if constant.HasField("ival"):
        return Decimal(constant.ival.ival)
    try:
        return Decimal(constant.fval.fval)
    except InvalidOperation:  # hexadecimal and too large for an integer
        return None


def _column(node: Tree) -> tuple[str, ...]:
    """The names of a column as they are written; empty for anything else."""
    return tuple(field.string.sval for field in node.column_ref.fields)
