"""Reading parse trees and writing SQL from changed ones. Pure.

A statement is turned round by changing its tree (another comment, the old name where the new one was) and printing it:
names stay as the author wrote them and are found on the same search_path.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

from postgast import pg_query_pb2 as pb
from psycopg import sql

from squizzle.analysis.grammar import Tree, deparse_statement
from squizzle.analysis.scanner import is_plain_word
from squizzle.migrations.reversal.definitions import Address

RELATIONS: dict[int, str] = {
    pb.OBJECT_TABLE: "TABLE",
    pb.OBJECT_VIEW: "VIEW",
    pb.OBJECT_MATVIEW: "MATERIALIZED VIEW",
    pb.OBJECT_INDEX: "INDEX",
    pb.OBJECT_SEQUENCE: "SEQUENCE",
    pb.OBJECT_FOREIGN_TABLE: "FOREIGN TABLE",
}
_KINDS: dict[int, str] = {
    pb.OBJECT_ACCESS_METHOD: "access method",
    pb.OBJECT_AGGREGATE: "aggregate",
    pb.OBJECT_CAST: "cast",
    pb.OBJECT_COLLATION: "collation",
    pb.OBJECT_COLUMN: "table column",
    pb.OBJECT_CONVERSION: "conversion",
    pb.OBJECT_DATABASE: "database",
    pb.OBJECT_DOMAIN: "domain",
    pb.OBJECT_DOMCONSTRAINT: "domain constraint",
    pb.OBJECT_EVENT_TRIGGER: "event trigger",
    pb.OBJECT_EXTENSION: "extension",
    pb.OBJECT_FDW: "foreign-data wrapper",
    pb.OBJECT_FOREIGN_SERVER: "server",
    pb.OBJECT_FUNCTION: "function",
    pb.OBJECT_LANGUAGE: "language",
    pb.OBJECT_OPCLASS: "operator class",
    pb.OBJECT_OPERATOR: "operator",
    pb.OBJECT_OPFAMILY: "operator family",
    pb.OBJECT_POLICY: "policy",
    pb.OBJECT_PROCEDURE: "procedure",
    pb.OBJECT_PUBLICATION: "publication",
    pb.OBJECT_ROLE: "role",
    pb.OBJECT_ROUTINE: "routine",
    pb.OBJECT_RULE: "rule",
    pb.OBJECT_SCHEMA: "schema",
    pb.OBJECT_STATISTIC_EXT: "statistics object",
    pb.OBJECT_SUBSCRIPTION: "subscription",
    pb.OBJECT_TABCONSTRAINT: "table constraint",
    pb.OBJECT_TABLESPACE: "tablespace",
    pb.OBJECT_TRANSFORM: "transform",
    pb.OBJECT_TRIGGER: "trigger",
    pb.OBJECT_TSCONFIGURATION: "text search configuration",
    pb.OBJECT_TSDICTIONARY: "text search dictionary",
    pb.OBJECT_TSPARSER: "text search parser",
    pb.OBJECT_TSTEMPLATE: "text search template",
    pb.OBJECT_TYPE: "type",
}
ROUTINES = frozenset({pb.OBJECT_FUNCTION, pb.OBJECT_PROCEDURE, pb.OBJECT_ROUTINE, pb.OBJECT_AGGREGATE})
# libpq's way to say it in a RangeVar.
_TEMPORARY = "t"


@cache
def quoted(name: str) -> str:
    """A name as it must be written: bare where PostgreSQL reads it back the same, else in double quotes."""
    return name if is_plain_word(name) else sql.Identifier(name).as_string(None)


def literal(text: str) -> str:
    """A text as an SQL literal that does not depend on standard_conforming_strings."""
    escaped = text.replace("'", "''")
    return f"E'{escaped.replace(chr(92), chr(92) * 2)}'" if "\\" in text else f"'{escaped}'"


def dotted(parts: Iterable[str]) -> str:
    """Names joined by dots, quoted where they must be."""
    return ".".join(quoted(part) for part in parts if part)


def range_name(relation: Tree) -> str:
    """The quoted name in a RangeVar."""
    return dotted((relation.schemaname, relation.relname))


def is_temporary(relation: Tree) -> bool:
    """Whether a RangeVar names something that ends with the session."""
    return bool(relation.relpersistence == _TEMPORARY or relation.schemaname == "pg_temp")


def strings(nodes: Sequence[Tree]) -> tuple[str, ...]:
    """The texts of a list of strings."""
    return tuple(node.string.sval for node in nodes)


def type_text(type_name: Tree) -> str:
    """A type as SQL."""
    node = pb.Node()
    target = node.select_stmt.target_list.add().res_target
    target.val.type_cast.arg.a_const.isnull = True
    target.val.type_cast.type_name.CopyFrom(type_name)
    text = deparse_statement(node) or ""
    return text.removeprefix("SELECT NULL::").removeprefix("SELECT CAST(NULL AS ")


def expression_text(expression: Tree) -> str:
    """An expression as SQL."""
    node = pb.Node()
    node.select_stmt.target_list.add().res_target.val.CopyFrom(expression)
    return (deparse_statement(node) or "").removeprefix("SELECT ")


def changed(tree: Tree) -> Tree:
    """A copy of a statement's tree, to be changed."""
    copy = pb.Node()
    copy.CopyFrom(tree)
    return copy


def statement_text(tree: Tree) -> str:
    """The SQL of a tree that we made or changed.

    Raises:
        ValueError: The tree cannot be printed.
    """
    text = deparse_statement(tree)
    if text is None:
        raise ValueError("a statement that was turned round cannot be printed")
    return text


def drop_text(object_type: int, item: Tree) -> str:
    """DROP of one object.

    Args:
        object_type: A value of pg_query's ObjectType.
        item: Its name as DROP's grammar has it: a list, a string, a type, or a name with arguments.
    """
    node = pb.Node()
    node.drop_stmt.remove_type = object_type
    node.drop_stmt.behavior = pb.DROP_RESTRICT
    node.drop_stmt.objects.add().CopyFrom(item)
    return statement_text(node)


def name_list(parts: Iterable[str]) -> Tree:
    """A list of strings, as the grammar keeps qualified names."""
    node = pb.Node()
    for part in parts:
        if part:
            node.list.items.add().string.sval = part
    return node


def relation_item(relation: Tree) -> Tree:
    """The name in a RangeVar as DROP's grammar has it."""
    return name_list((relation.schemaname, relation.relname))


def type_item(parts: Iterable[str]) -> Tree:
    """A type's name as DROP's grammar has it."""
    node = pb.Node()
    for part in parts:
        if part:
            node.type_name.names.add().string.sval = part
    node.type_name.typemod = -1
    return node


def string_item(text: str) -> Tree:
    """One string."""
    node = pb.Node()
    node.string.sval = text
    return node


def item_of_relation(relation: Tree, *more: str) -> Tree:
    """Something that has its name on a relation: a trigger, a rule, a policy, a column, a constraint."""
    return name_list((relation.schemaname, relation.relname, *more))


def address_of(object_type: int, item: Tree) -> Address | None:
    """Where to look an object up; None for kinds that are not looked up.

    Args:
        object_type: A value of pg_query's ObjectType.
        item: Its name as COMMENT's and DROP's grammar have it.
    """
    if object_type in RELATIONS:
        return Address(kind="relation", names=_names(item))
    kind = _KINDS.get(object_type)
    if kind is None:
        return None
    if item.WhichOneof("node") == "object_with_args":
        return _with_arguments(kind, item.object_with_args)
    if object_type in _PAIRS:
        first, second = item.list.items
        return Address(kind=kind, names=(type_text(first.type_name),), args=(_type_or_text(second),))
    if object_type in {pb.OBJECT_TYPE, pb.OBJECT_DOMAIN}:
        return Address(kind=kind, names=(_type_name(item),))
    return Address(kind=kind, names=_names(item))


# Named by a type and something else.
_PAIRS = frozenset({pb.OBJECT_CAST, pb.OBJECT_DOMCONSTRAINT, pb.OBJECT_TRANSFORM})


def _type_or_text(item: Tree) -> str:
    return type_text(item.type_name) if item.WhichOneof("node") == "type_name" else str(item.string.sval)


def _type_name(item: Tree) -> str:
    return type_text(item.type_name) if item.WhichOneof("node") == "type_name" else dotted(_names(item))


def _names(item: Tree) -> tuple[str, ...]:
    match item.WhichOneof("node"):
        case "string":
            return (item.string.sval,)
        case "range_var":
            return tuple(part for part in (item.range_var.schemaname, item.range_var.relname) if part)
        case "type_name":
            return strings(item.type_name.names)
        case _:
            return strings(item.list.items)


def _with_arguments(kind: str, item: Tree) -> Address:
    # An operator with one operand has an empty node where the other one would be.
    args = tuple(type_text(one.type_name) if one.WhichOneof("node") == "type_name" else "none" for one in item.objargs)
    return Address(kind=kind, names=strings(item.objname), args=args, by_name=item.args_unspecified)


def relation_address(relation: Tree) -> Address:
    """A relation's address."""
    return Address(kind="relation", names=tuple(one for one in (relation.schemaname, relation.relname) if one))
