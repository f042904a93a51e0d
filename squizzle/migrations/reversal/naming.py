"""The way back of what only changes a name, a place, an owner, or a comment. Pure."""

from __future__ import annotations

from postgast import pg_query_pb2 as pb

from squizzle.analysis.grammar import Tree
from squizzle.migrations.reversal.context import Context
from squizzle.migrations.reversal.definitions import Address, Definitions
from squizzle.migrations.reversal.records import Reverse, exact, irreversible, nothing_to_do
from squizzle.migrations.reversal.trees import address_of, changed, dotted, relation_address, statement_text

_SET_BACK = "set back to what it was"
_NEEDS_DATABASE = "what it was before is not known without a database in the state before the script"
_NOT_THERE = "there was no such object, so nothing was changed"


def reverse_rename(tree: Tree, definitions: Definitions | None, context: Context) -> Reverse:  # noqa: ARG001
    """RENAME: the two names change places."""
    statement = tree.rename_stmt
    if statement.missing_ok and definitions is not None and not _is_there(statement, definitions):
        return nothing_to_do(_NOT_THERE)
    back = changed(tree)
    turned = back.rename_stmt
    turned.missing_ok = False
    if statement.subname:
        turned.subname, turned.newname = statement.newname, statement.subname
    elif statement.HasField("relation"):
        turned.relation.relname, turned.newname = statement.newname, statement.relation.relname
    else:
        turned.newname = _rename_last(turned.object, statement.newname)
    return exact(statement_text(back), reason="the old name comes back", certain=not statement.missing_ok)


def _is_there(statement: Tree, definitions: Definitions) -> bool:
    if statement.HasField("relation"):
        return definitions.exists(relation_address(statement.relation))
    address = address_of(statement.rename_type, statement.object)
    return address is None or definitions.exists(address)


def _rename_last(item: Tree, name: str) -> str:
    """Put a new last part into a name; the old one is returned."""
    match item.WhichOneof("node"):
        case "string":
            last = item.string
        case "object_with_args":
            last = item.object_with_args.objname[-1].string
        case "type_name":
            last = item.type_name.names[-1].string
        case _:
            last = item.list.items[-1].string
    old, last.sval = str(last.sval), name
    return old


def reverse_set_schema(tree: Tree, definitions: Definitions | None, context: Context) -> Reverse:  # noqa: ARG001
    """SET SCHEMA."""
    statement = tree.alter_object_schema_stmt
    address = _address(statement)
    if definitions is None or address is None:
        return irreversible(_NEEDS_DATABASE)
    old = definitions.schema(address)
    if old is None:
        return nothing_to_do(_NOT_THERE)
    back = changed(tree)
    turned = back.alter_object_schema_stmt
    turned.newschema = old
    turned.missing_ok = False
    _move(turned, statement.newschema)
    return exact(statement_text(back), reason="moved back to where it was")


def _address(statement: Tree) -> Address | None:
    if statement.HasField("relation"):
        return relation_address(statement.relation)
    return address_of(statement.object_type, statement.object)


def _move(statement: Tree, schema: str) -> None:
    """Let the name be one in this schema."""
    if statement.HasField("relation"):
        statement.relation.schemaname = schema
        return
    item = statement.object
    match item.WhichOneof("node"):
        case "object_with_args":
            _qualify(item.object_with_args.objname, schema, keep=0)
        case "type_name":
            _qualify(item.type_name.names, schema, keep=0)
        case "list":
            # An operator class or family begins with its access method.
            keep = 1 if statement.object_type in {pb.OBJECT_OPCLASS, pb.OBJECT_OPFAMILY} else 0
            _qualify(item.list.items, schema, keep=keep)


def _qualify(names: Tree, schema: str, *, keep: int) -> None:
    before = [one.string.sval for one in names]
    del names[:]
    for part in (*before[:keep], schema, before[-1]):
        names.add().string.sval = part


def reverse_owner(tree: Tree, definitions: Definitions | None, context: Context) -> Reverse:  # noqa: ARG001
    """OWNER TO."""
    address = _address(tree.alter_owner_stmt)
    if definitions is None or address is None:
        return irreversible(_NEEDS_DATABASE)
    owner = definitions.owner(address)
    if owner is None:
        return irreversible(f"the owner of {dotted(address.names)} was not found")
    back = changed(tree)
    set_role(back.alter_owner_stmt.newowner, owner)
    return exact(statement_text(back), reason="the old owner comes back")


def set_role(role: Tree, quoted_name: str) -> None:
    """Let a role of a parse tree be this one."""
    role.roletype = pb.ROLESPEC_CSTRING
    role.rolename = quoted_name[1:-1].replace('""', '"') if quoted_name.startswith('"') else quoted_name


def reverse_comment(tree: Tree, definitions: Definitions | None, context: Context) -> Reverse:
    """COMMENT: the one that was there before, or none."""
    statement = tree.comment_stmt
    address = address_of(statement.objtype, statement.object)
    if definitions is None and address is not None and _is_of_the_script(address, context):
        return nothing_to_do("the script itself made what it is about, so it goes with it")
    if definitions is None or address is None:
        return irreversible(_NEEDS_DATABASE)
    old = definitions.comment(address)
    back = changed(tree)
    back.comment_stmt.comment = old or ""
    reason = "the old comment comes back" if old is not None else "there was no comment"
    return exact(statement_text(back), reason=reason)


def _is_of_the_script(address: Address, context: Context) -> bool:
    if address.kind == "table column":
        table = dotted(address.names[:-1])
        return table in context.created or (table, address.names[-1]) in context.added
    return address.kind == "relation" and dotted(address.names) in context.created


def reverse_depends(tree: Tree, definitions: Definitions | None, context: Context) -> Reverse:  # noqa: ARG001
    """DEPENDS ON EXTENSION, there and back."""
    back = changed(tree)
    back.alter_object_depends_stmt.remove = not tree.alter_object_depends_stmt.remove
    return exact(statement_text(back), reason=_SET_BACK)
