"""The way back of CREATE: DROP, or the old definition where CREATE OR REPLACE met one. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from postgast import pg_query_pb2 as pb

from squizzle.analysis.grammar import Tree
from squizzle.migrations.reversal.chosen_names import chosen_index_name, chosen_statistics_name
from squizzle.migrations.reversal.context import Context
from squizzle.migrations.reversal.definitions import Address, Definitions
from squizzle.migrations.reversal.records import Reverse, Reversibility, exact, irreversible, nothing_to_do
from squizzle.migrations.reversal.remaking import remade, replaced
from squizzle.migrations.reversal.trees import (
    address_of,
    dotted,
    drop_text,
    is_temporary,
    item_of_relation,
    name_list,
    quoted,
    relation_item,
    statement_text,
    string_item,
    strings,
    type_item,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """What a CREATE makes.

    Attributes:
        type: A value of pg_query's ObjectType.
        item: Its name as DROP's grammar has it.
        unless_there: IF NOT EXISTS.
        replaces: OR REPLACE.
        temporary: Gone with the session.
        certain: Whether DROP alone is the way back, whatever the database holds.
    """

    type: int
    item: Tree
    unless_there: bool = False
    replaces: bool = False
    temporary: bool = False
    certain: bool = True


def reverse_create(tree: Tree, definitions: Definitions | None, context: Context) -> Reverse:  # noqa: ARG001
    """The way back of every CREATE that makes one object."""
    node = tree.WhichOneof("node")
    made = _MADE[node](getattr(tree, node), definitions)
    if made is None:
        return irreversible("the name that PostgreSQL chooses for it is not known without a database")
    if made.temporary:
        return nothing_to_do("temporary: it ends with the session")
    address = address_of(made.type, made.item)
    drop = drop_text(made.type, made.item)
    if not made.unless_there and not made.replaces:
        return exact(drop, reason=_DROPPED, certain=made.certain)
    if definitions is None:
        reason = "whether it was there before is not known without a database"
        return Reverse(statements=(drop,), reversibility=Reversibility.LOSSY, reason=reason)
    return _where_it_may_be(made, drop, address, definitions)


def _where_it_may_be(made: Made, drop: str, address: Address | None, definitions: Definitions) -> Reverse:
    if address is None or not definitions.exists(address):
        return exact(drop, reason=_DROPPED, certain=made.certain)
    if made.unless_there:
        return nothing_to_do("it was there already, so nothing was made")
    return _restored(definitions, address, made)


_DROPPED = "what was made is dropped"
_ANEW = frozenset({pb.OBJECT_TRIGGER, pb.OBJECT_RULE})


def _restored(definitions: Definitions, address: Address, made: Made) -> Reverse:
    what = dotted(address.names)
    if made.type in _ANEW:
        return remade(definitions, address, what=what)
    return replaced(definitions, address, what=what)


def _relation(object_type: int) -> Callable[[Tree, Definitions | None], Made]:
    def made(statement: Tree, _: Definitions | None) -> Made:
        return Made(
            type=object_type,
            item=relation_item(statement.relation),
            unless_there=statement.if_not_exists,
            temporary=is_temporary(statement.relation),
        )

    return made


def _table_as(statement: Tree, _: Definitions | None) -> Made:
    target = statement.into.rel
    return Made(
        type=statement.objtype,
        item=relation_item(target),
        unless_there=statement.if_not_exists,
        temporary=is_temporary(target),
    )


def _foreign_table(statement: Tree, _: Definitions | None) -> Made:
    base = statement.base_stmt
    return Made(type=pb.OBJECT_FOREIGN_TABLE, item=relation_item(base.relation), unless_there=base.if_not_exists)


def _view(statement: Tree, _: Definitions | None) -> Made:
    temporary = is_temporary(statement.view)
    item = relation_item(statement.view)
    return Made(type=pb.OBJECT_VIEW, item=item, replaces=statement.replace, temporary=temporary)


def _index(statement: Tree, definitions: Definitions | None) -> Made | None:
    name = statement.idxname or chosen_index_name(statement, definitions)
    if name is None:
        return None
    # An index lives in the schema of its table.
    item = name_list((_schema_of_table(statement.relation, definitions), name))
    return Made(type=pb.OBJECT_INDEX, item=item, unless_there=statement.if_not_exists, certain=bool(statement.idxname))


def _schema_of_table(relation: Tree, definitions: Definitions | None) -> str:
    if relation.schemaname or definitions is None:
        return str(relation.schemaname)
    return definitions.schema(Address(kind="relation", names=(relation.relname,))) or ""


def _sequence(statement: Tree, _: Definitions | None) -> Made:
    item, temporary = relation_item(statement.sequence), is_temporary(statement.sequence)
    return Made(type=pb.OBJECT_SEQUENCE, item=item, unless_there=statement.if_not_exists, temporary=temporary)


def _named_type(field: str, object_type: int) -> Callable[[Tree, Definitions | None], Made]:
    def made(statement: Tree, _: Definitions | None) -> Made:
        return Made(type=object_type, item=type_item(strings(getattr(statement, field))))

    return made


def _composite(statement: Tree, _: Definitions | None) -> Made:
    row = statement.typevar
    return Made(type=pb.OBJECT_TYPE, item=type_item((row.schemaname, row.relname)))


def _defined(statement: Tree, _: Definitions | None) -> Made:
    names = strings(statement.defnames)
    if statement.kind == pb.OBJECT_AGGREGATE:
        item = _aggregate_item(statement, names)
    elif statement.kind == pb.OBJECT_OPERATOR:
        item = _operator_item(statement, names)
    elif statement.kind == pb.OBJECT_TYPE:
        item = type_item(names)
    else:
        item = name_list(names)
    return Made(type=statement.kind, item=item, unless_there=statement.if_not_exists, replaces=statement.replace)


def _aggregate_item(statement: Tree, names: tuple[str, ...]) -> Tree:
    item = _with_arguments(names)
    if statement.oldstyle:
        base = next((one.def_elem.arg for one in statement.definition if one.def_elem.defname == "basetype"), None)
        if base is not None and base.WhichOneof("node") == "type_name":
            item.object_with_args.objargs.add().type_name.CopyFrom(base.type_name)
        return item
    for parameter in statement.args[0].list.items:
        item.object_with_args.objargs.add().type_name.CopyFrom(parameter.function_parameter.arg_type)
        item.object_with_args.objfuncargs.add().CopyFrom(parameter)
    return item


def _operator_item(statement: Tree, names: tuple[str, ...]) -> Tree:
    item = _with_arguments(names)
    given = {one.def_elem.defname: one.def_elem.arg for one in statement.definition}
    for side in ("leftarg", "rightarg"):
        operand = item.object_with_args.objargs.add()
        if side in given:
            operand.type_name.CopyFrom(given[side].type_name)
    return item


def _with_arguments(names: tuple[str, ...]) -> Tree:
    item = pb.Node()
    for name in names:
        item.object_with_args.objname.add().string.sval = name
    return item


def _routine(statement: Tree, _: Definitions | None) -> Made:
    item = _with_arguments(strings(statement.funcname))
    for node in statement.parameters:
        parameter = node.function_parameter
        if parameter.mode == pb.FUNC_PARAM_TABLE or (
            parameter.mode == pb.FUNC_PARAM_OUT and not statement.is_procedure
        ):
            continue
        item.object_with_args.objargs.add().type_name.CopyFrom(parameter.arg_type)
    object_type = pb.OBJECT_PROCEDURE if statement.is_procedure else pb.OBJECT_FUNCTION
    temporary = statement.funcname[0].string.sval == "pg_temp"
    return Made(type=object_type, item=item, replaces=statement.replace, temporary=temporary)


def _trigger(statement: Tree, _: Definitions | None) -> Made:
    item = item_of_relation(statement.relation, statement.trigname)
    return Made(type=pb.OBJECT_TRIGGER, item=item, replaces=statement.replace)


def _rule(statement: Tree, _: Definitions | None) -> Made:
    item = item_of_relation(statement.relation, statement.rulename)
    return Made(type=pb.OBJECT_RULE, item=item, replaces=statement.replace)


def _policy(statement: Tree, _: Definitions | None) -> Made:
    return Made(type=pb.OBJECT_POLICY, item=item_of_relation(statement.table, statement.policy_name))


def _single(object_type: int, field: str, *, certain: bool = True) -> Callable[[Tree, Definitions | None], Made]:
    def made(statement: Tree, _: Definitions | None) -> Made:
        unless_there = bool(getattr(statement, "if_not_exists", False))
        replaces = bool(getattr(statement, "replace", False))
        item = string_item(getattr(statement, field))
        return Made(type=object_type, item=item, unless_there=unless_there, replaces=replaces, certain=certain)

    return made


def _statistics(statement: Tree, definitions: Definitions | None) -> Made | None:
    names = strings(statement.defnames) or chosen_statistics_name(statement, definitions)
    if not names:
        return None
    return Made(type=pb.OBJECT_STATISTIC_EXT, item=name_list(names), unless_there=statement.if_not_exists)


def _cast(statement: Tree, _: Definitions | None) -> Made:
    item = pb.Node()
    item.list.items.add().type_name.CopyFrom(statement.sourcetype)
    item.list.items.add().type_name.CopyFrom(statement.targettype)
    return Made(type=pb.OBJECT_CAST, item=item)


def _transform(statement: Tree, _: Definitions | None) -> Made:
    item = pb.Node()
    item.list.items.add().type_name.CopyFrom(statement.type_name)
    item.list.items.add().string.sval = statement.lang
    return Made(type=pb.OBJECT_TRANSFORM, item=item, replaces=statement.replace)


def _conversion(statement: Tree, _: Definitions | None) -> Made:
    return Made(type=pb.OBJECT_CONVERSION, item=name_list(strings(statement.conversion_name)))


def _operator_class(statement: Tree, definitions: Definitions | None) -> Made:
    names = (statement.amname, *strings(statement.opclassname))
    if statement.opfamilyname:
        return Made(type=pb.OBJECT_OPCLASS, item=name_list(names))
    family = address_of(pb.OBJECT_OPFAMILY, name_list(names))
    there = definitions is not None and family is not None and definitions.exists(family)
    # Without a family named, one of the same name is made with the class, and holds it.
    return Made(type=pb.OBJECT_OPCLASS if there else pb.OBJECT_OPFAMILY, item=name_list(names), certain=False)


def _operator_family(statement: Tree, _: Definitions | None) -> Made:
    return Made(type=pb.OBJECT_OPFAMILY, item=name_list((statement.amname, *strings(statement.opfamilyname))))


_MADE: dict[str, Callable[[Tree, Definitions | None], Made | None]] = {
    "composite_type_stmt": _composite,
    "create_am_stmt": _single(pb.OBJECT_ACCESS_METHOD, "amname"),
    "create_cast_stmt": _cast,
    "create_conversion_stmt": _conversion,
    "create_domain_stmt": _named_type("domainname", pb.OBJECT_DOMAIN),
    "create_enum_stmt": _named_type("type_name", pb.OBJECT_TYPE),
    "create_event_trig_stmt": _single(pb.OBJECT_EVENT_TRIGGER, "trigname"),
    # CASCADE installs more than is named.
    "create_extension_stmt": _single(pb.OBJECT_EXTENSION, "extname", certain=False),
    "create_fdw_stmt": _single(pb.OBJECT_FDW, "fdwname"),
    "create_foreign_server_stmt": _single(pb.OBJECT_FOREIGN_SERVER, "servername"),
    "create_foreign_table_stmt": _foreign_table,
    "create_function_stmt": _routine,
    "create_op_class_stmt": _operator_class,
    "create_op_family_stmt": _operator_family,
    "create_plang_stmt": _single(pb.OBJECT_LANGUAGE, "plname"),
    "create_policy_stmt": _policy,
    "create_publication_stmt": _single(pb.OBJECT_PUBLICATION, "pubname"),
    "create_range_stmt": _named_type("type_name", pb.OBJECT_TYPE),
    "create_seq_stmt": _sequence,
    "create_stats_stmt": _statistics,
    "create_stmt": _relation(pb.OBJECT_TABLE),
    "create_table_as_stmt": _table_as,
    "create_transform_stmt": _transform,
    "create_trig_stmt": _trigger,
    "define_stmt": _defined,
    "index_stmt": _index,
    "rule_stmt": _rule,
    "view_stmt": _view,
}
CREATES = frozenset(_MADE)


def reverse_index(tree: Tree, definitions: Definitions | None, context: Context) -> Reverse:
    """CREATE INDEX; what was made concurrently is dropped so, too, and clients do not wait."""
    reverse = reverse_create(tree, definitions, context)
    if not tree.index_stmt.concurrent or not reverse.statements:
        return reverse
    statements = tuple(text.replace("DROP INDEX ", "DROP INDEX CONCURRENTLY ", 1) for text in reverse.statements)
    return Reverse(statements=statements, reason=reverse.reason, certain=reverse.certain, alone=True)


def reverse_schema(tree: Tree, definitions: Definitions | None, context: Context) -> Reverse:  # noqa: ARG001
    """CREATE SCHEMA, perhaps with what it shall hold."""
    statement = tree.create_schema_stmt
    name = statement.schemaname or statement.authrole.rolename
    if not name:
        return irreversible("the schema is named after whoever runs the script")
    if statement.if_not_exists and definitions is None:
        reason = "whether the schema was there before is not known without a database"
        return Reverse(statements=(f"DROP SCHEMA {quoted(name)}",), reversibility=Reversibility.LOSSY, reason=reason)
    if statement.if_not_exists and definitions and definitions.exists(Address(kind="schema", names=(name,))):
        return nothing_to_do("it was there already, so nothing was made")
    if statement.schema_elts:
        return exact(f"DROP SCHEMA {quoted(name)} CASCADE", reason="the schema is dropped with what it was made with")
    return exact(f"DROP SCHEMA {quoted(name)}", reason="what was made is dropped", certain=True)


def reverse_user_mapping(tree: Tree, definitions: Definitions | None, context: Context) -> Reverse:  # noqa: ARG001
    """CREATE USER MAPPING."""
    statement = tree.create_user_mapping_stmt
    drop = pb.Node()
    drop.drop_user_mapping_stmt.user.CopyFrom(statement.user)
    drop.drop_user_mapping_stmt.servername = statement.servername
    return exact(statement_text(drop), reason="what was made is dropped", certain=not statement.if_not_exists)
