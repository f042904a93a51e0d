"""The way back of GRANT and REVOKE: what each named role held before. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from postgast import pg_query_pb2 as pb

from squizzle.analysis.grammar import Tree
from squizzle.migrations.reversal.context import Context
from squizzle.migrations.reversal.definitions import Address, Definitions, Grant
from squizzle.migrations.reversal.records import Reverse, exact, irreversible, lossy
from squizzle.migrations.reversal.trees import (
    address_of,
    changed,
    dotted,
    quoted,
    relation_address,
    statement_text,
    type_item,
)

_NEEDS_DATABASE = "who held which privilege before is not known without a database in the state before the script"
_WORDS: dict[int, str] = {
    pb.OBJECT_DATABASE: "DATABASE",
    pb.OBJECT_DOMAIN: "TYPE",
    pb.OBJECT_FDW: "FOREIGN DATA WRAPPER",
    pb.OBJECT_FOREIGN_SERVER: "FOREIGN SERVER",
    pb.OBJECT_FUNCTION: "FUNCTION",
    pb.OBJECT_LANGUAGE: "LANGUAGE",
    pb.OBJECT_PROCEDURE: "PROCEDURE",
    pb.OBJECT_ROUTINE: "ROUTINE",
    pb.OBJECT_SCHEMA: "SCHEMA",
    pb.OBJECT_SEQUENCE: "SEQUENCE",
    pb.OBJECT_TABLE: "TABLE",
    pb.OBJECT_TYPE: "TYPE",
}
_IN_SCHEMA = {pb.OBJECT_TABLE: "rvmfp", pb.OBJECT_SEQUENCE: "S"}


def reverse_grant(tree: Tree, definitions: Definitions | None, context: Context) -> Reverse:  # noqa: ARG001
    """GRANT or REVOKE on objects: every named role gets what it held before, nothing more and nothing less."""
    statement = tree.grant_stmt
    if definitions is None:
        return irreversible(_NEEDS_DATABASE)
    word = _WORDS.get(statement.objtype)
    objects = _objects(statement, definitions)
    if word is None or objects is None:
        return irreversible("the privileges of this kind of object cannot be read")
    roles = _roles(statement.grantees, definitions)
    statements = [
        text
        for name, address in objects
        for text in _held_before(f"{word} {name}", roles, definitions.grants(address), relation=name)
    ]
    return exact(*statements, reason="every role that is named holds again what it held before")


def _objects(statement: Tree, definitions: Definitions) -> list[tuple[str, Address]] | None:
    if statement.targtype == pb.ACL_TARGET_ALL_IN_SCHEMA:
        kinds = _IN_SCHEMA.get(statement.objtype)
        if kinds is None:
            return None
        names = [name for one in statement.objects for name in definitions.in_schema(one.string.sval, kinds)]
        return [(name, Address(kind="named", names=(name,))) for name in names]
    found = [_object(statement.objtype, item) for item in statement.objects]
    return [(name, address) for name, address in found if address is not None]


def _object(object_type: int, item: Tree) -> tuple[str, Address | None]:
    match item.WhichOneof("node"):
        case "range_var":
            address = relation_address(item.range_var)
            return dotted(address.names), address
        case "object_with_args":
            found = address_of(object_type, item)
            if found is None or found.by_name:
                return dotted(found.names) if found else "", found
            return f"{dotted(found.names)}({', '.join(found.args)})", found
        case "string":
            return quoted(item.string.sval), address_of(object_type, item)
        case _:
            names = [one.string.sval for one in item.list.items]
            return dotted(names), address_of(pb.OBJECT_TYPE, type_item(names))


def _roles(grantees: Sequence[Tree], definitions: Definitions) -> list[str]:
    return list(dict.fromkeys(_role(one.role_spec, definitions) for one in grantees))


def _role(role: Tree, definitions: Definitions) -> str:
    match role.roletype:
        case pb.ROLESPEC_PUBLIC:
            return "PUBLIC"
        case pb.ROLESPEC_CSTRING:
            return quoted(role.rolename)
        case _:
            return definitions.current_user()


def _held_before(target: str, roles: Iterable[str], grants: Sequence[Grant], *, relation: str) -> Iterator[str]:
    for role in roles:
        yield f"REVOKE ALL ON {target} FROM {role}"
        yield from _granting(target, role, [one for one in grants if _is_of(one, role)], relation=relation)


def _is_of(grant: Grant, role: str) -> bool:
    return grant.grantee == role


def _granting(target: str, role: str, grants: Sequence[Grant], *, relation: str) -> Iterator[str]:
    for further in (False, True):
        whole = [one.privilege for one in grants if one.grantable is further and not one.column]
        ending = " WITH GRANT OPTION" if further else ""
        if whole:
            yield f"GRANT {', '.join(whole)} ON {target} TO {role}{ending}"
        for one in grants:
            if one.grantable is further and one.column:
                yield f"GRANT {one.privilege} ({one.column}) ON {relation} TO {role}{ending}"


def reverse_default_privileges(tree: Tree, definitions: Definitions | None, context: Context) -> Reverse:  # noqa: ARG001
    """ALTER DEFAULT PRIVILEGES."""
    if definitions is None:
        return irreversible(_NEEDS_DATABASE)
    statement = tree.alter_default_privileges_stmt
    options = {one.def_elem.defname: one.def_elem.arg.list.items for one in statement.options}
    makers = [one.role_spec for one in options.get("roles", ())]
    schemas = [one.string.sval for one in options.get("schemas", ())]
    roles = _roles(statement.action.grantees, definitions)
    kind, word = _DEFAULTS[statement.action.objtype]
    statements: list[str] = []
    for maker in makers or [None]:
        for schema in schemas or [None]:
            start = _default_start(maker, schema, definitions)
            role = None if maker is None or maker.roletype != pb.ROLESPEC_CSTRING else maker.rolename
            grants = definitions.default_grants(role, schema, kind)
            statements += _defaults_before(start, word, roles, grants)
    return exact(*statements, reason="new objects are granted what they were granted before")


_DEFAULTS = {
    pb.OBJECT_TABLE: ("r", "TABLES"),
    pb.OBJECT_SEQUENCE: ("S", "SEQUENCES"),
    pb.OBJECT_FUNCTION: ("f", "FUNCTIONS"),
    pb.OBJECT_TYPE: ("T", "TYPES"),
    pb.OBJECT_SCHEMA: ("n", "SCHEMAS"),
    pb.OBJECT_LARGEOBJECT: ("L", "LARGE OBJECTS"),
}


def _default_start(maker: Tree | None, schema: str | None, definitions: Definitions) -> str:
    parts = ["ALTER DEFAULT PRIVILEGES"]
    if maker is not None:
        parts.append(f"FOR ROLE {_role(maker, definitions)}")
    if schema is not None:
        parts.append(f"IN SCHEMA {quoted(schema)}")
    return " ".join(parts)


def _defaults_before(start: str, word: str, roles: Iterable[str], grants: Sequence[Grant]) -> Iterator[str]:
    for role in roles:
        yield f"{start} REVOKE ALL ON {word} FROM {role}"
        for grant in grants:
            if grant.grantee == role:
                further = " WITH GRANT OPTION" if grant.grantable else ""
                yield f"{start} GRANT {grant.privilege} ON {word} TO {role}{further}"


def reverse_membership(tree: Tree, definitions: Definitions | None, context: Context) -> Reverse:  # noqa: ARG001
    """GRANT or REVOKE of a role."""
    back = changed(tree)
    statement = back.grant_role_stmt
    statement.is_grant = not statement.is_grant
    del statement.opt[:]
    return lossy(
        statement_text(back),
        reason="membership in roles belongs to the whole cluster; what was held before is not read",
    )
