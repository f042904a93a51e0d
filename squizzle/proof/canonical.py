"""One spelling for definitions that PostgreSQL itself spells in two ways.

A dump restored elsewhere holds the same schema in other words: the server takes an expression apart and puts it
together again, and two forms do not come back as they were (measured on 15 and 18):

- `(ARRAY['a'::varchar, 'b'::varchar])::text[]` becomes `ARRAY[('a'::varchar)::text, ('b'::varchar)::text]`
  (the text of every `IN` list over a varchar column);
- `((x >= 1) AND (x <= 2)) AND y` becomes `(x >= 1) AND (x <= 2) AND y` (every BETWEEN inside an AND).

Both are undone in the parse tree, so nothing else can become equal by accident: a cast of a whole array is a cast of
each element only where the elements are no arrays themselves, so it is left alone where that is not certain. What
cannot be parsed is compared as it is written.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any

from postgast import pg_query_pb2

from squizzle.analysis.grammar import parse_statement

_MAY_VARY = re.compile(r"\bARRAY\[|\b(?:AND|OR)\b", re.IGNORECASE)


def _expression(text: str) -> str:
    return f"SELECT {text}"


def _constraint(text: str) -> str:
    return f"ALTER TABLE t ADD CONSTRAINT c {text}"


# How a definition becomes a whole statement that the grammar accepts, by the kind of object it defines.
_WRAP: dict[str, Callable[[str], str]] = {
    "constraint": _constraint,
    "default": _expression,
    "domain constraint": _constraint,
    "domain default": _expression,
    "function": str,
    "index": str,
    "invalid index": str,
    "partition key": lambda text: f"CREATE TABLE t (c int) PARTITION BY {text}",
    "policy check": _expression,
    "policy using": _expression,
    "publication filter": _expression,
    "rule": str,
    "statistics": str,
    "trigger": str,
    "view definition": str,
}


def canonical(kind: str, definition: str, *, scalars: frozenset[str] = frozenset()) -> str:
    """The definition in the one spelling that survives a dump and a restore.

    Args:
        kind: Kind of object, as in `schema_objects.sql`.
        definition: What the server prints for it, with only pg_catalog on the search path.
        scalars: Names of columns and types that are no arrays, wherever the name occurs.

    Returns:
        A text for comparing, not for running; the definition itself where only one spelling exists.
    """
    wrap = _WRAP.get(kind)
    if wrap is None or not _MAY_VARY.search(definition):
        return definition
    tree = parse_statement(wrap(definition))
    if tree is None:
        return definition
    _rewrite(tree, scalars)
    return hashlib.sha256(tree.SerializeToString(deterministic=True)).hexdigest()


def _rewrite(message: Any, scalars: frozenset[str]) -> None:
    """Depth first, so that inner forms are canonical when an outer one is looked at."""
    for field, value in message.ListFields():
        if field.name in {"location", "stmt_location", "stmt_len", "list_start", "list_end"}:
            message.ClearField(field.name)
        elif field.message_type is not None:
            for child in value if field.is_repeated else (value,):
                _rewrite(child, scalars)
    if isinstance(message, pg_query_pb2.Node):
        _flatten_boolean(message)
        _push_array_cast(message, scalars)


def _flatten_boolean(node: Any) -> None:
    if node.WhichOneof("node") != "bool_expr" or node.bool_expr.boolop == pg_query_pb2.NOT_EXPR:
        return
    flat: list[Any] = []
    for argument in node.bool_expr.args:
        same = argument.WhichOneof("node") == "bool_expr" and argument.bool_expr.boolop == node.bool_expr.boolop
        flat.extend(argument.bool_expr.args if same else (argument,))
    copies = [_copy(argument) for argument in flat]
    del node.bool_expr.args[:]
    for copy in copies:  # extend() serializes what it takes, and stops at 100 messages in each other
        node.bool_expr.args.add().CopyFrom(copy)


def _push_array_cast(node: Any, scalars: frozenset[str]) -> None:
    if node.WhichOneof("node") != "type_cast":
        return
    cast = node.type_cast
    if cast.arg.WhichOneof("node") != "a_array_expr" or not cast.type_name.array_bounds:
        return
    # All elements of an array have one type, so one that is certain speaks for all.
    if not any(_is_scalar(element, scalars) for element in cast.arg.a_array_expr.elements):
        return
    array = _copy(cast.arg)
    element_type = pg_query_pb2.TypeName()
    element_type.CopyFrom(cast.type_name)
    element_type.ClearField("array_bounds")
    elements = [_copy(element) for element in array.a_array_expr.elements]
    del array.a_array_expr.elements[:]
    for element in elements:
        wrapped = array.a_array_expr.elements.add()
        wrapped.type_cast.arg.CopyFrom(element)
        wrapped.type_cast.type_name.CopyFrom(element_type)
    node.CopyFrom(array)


def _is_scalar(element: Any, scalars: frozenset[str]) -> bool:
    """Whether an expression is certainly no array."""
    match element.WhichOneof("node"):
        case "a_const":
            return True
        case "column_ref":
            return bool(element.column_ref.fields[-1].string.sval in scalars)
        case "type_cast":
            return _is_scalar_type(element.type_cast.type_name, scalars)
    return False


def _is_scalar_type(type_name: Any, scalars: frozenset[str]) -> bool:
    names = [name.string.sval for name in type_name.names]
    if type_name.array_bounds:
        return False
    if len(names) == 1 or names[0] == "pg_catalog":
        # `_text` and int2vector are arrays by other names.
        return not names[-1].startswith("_") and "vector" not in names[-1]
    return names[-1] in scalars  # somebody's own: it may be a domain over an array


def _copy(node: Any) -> Any:
    twin = pg_query_pb2.Node()
    twin.CopyFrom(node)
    return twin
