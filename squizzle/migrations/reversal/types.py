"""The way back of changed types: enumerated ones, domains, composite ones. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from postgast import pg_query_pb2 as pb

from squizzle.analysis.grammar import Tree
from squizzle.migrations.reversal.context import Context
from squizzle.migrations.reversal.definitions import Address, Constraint, Definitions, Domain, Enum
from squizzle.migrations.reversal.records import Reverse, exact, irreversible, nothing_to_do
from squizzle.migrations.reversal.trees import (
    changed,
    dotted,
    literal,
    quoted,
    range_name,
    statement_text,
    strings,
)

_NEEDS_DATABASE = "what the type was before is not known without a database in the state before the script"


def reverse_enum(tree: Tree, definitions: Definitions | None, context: Context) -> Reverse:  # noqa: ARG001
    """ALTER TYPE … RENAME VALUE, and ADD VALUE, for which PostgreSQL has no opposite."""
    statement = tree.alter_enum_stmt
    if statement.old_val:
        back = changed(tree)
        back.alter_enum_stmt.old_val, back.alter_enum_stmt.new_val = statement.new_val, statement.old_val
        return exact(statement_text(back), reason="the old label comes back", certain=True)
    if definitions is None:
        return irreversible(_NEEDS_DATABASE)
    address = Address(kind="type", names=(dotted(strings(statement.type_name)),))
    enum = definitions.enum(address)
    if enum is None:
        return irreversible(f"the type {address.names[0]} was not found")
    if statement.new_val in enum.labels:
        return nothing_to_do("the label was there already, so nothing was added")
    return _without_label(enum, statement.new_val, definitions, address)


def _without_label(enum: Enum, label: str, definitions: Definitions, address: Address) -> Reverse:
    lost = definitions.lost([address])
    made = definitions.made(address)
    if lost.tables or lost.unknown or not made:
        holders = ", ".join([*lost.tables, *lost.unknown]) or enum.name
        return irreversible(f"a label can only be removed by making the type anew, and {holders} stands in the way")
    aside = quoted(_aside(enum.bare))
    columns = [text for one in enum.columns for text in _column_to(one.table, one.name, one.array, one.default, enum)]
    others = tuple(text for text in lost.restore if text not in made)
    drops = tuple(
        text for text in lost.drop if not text.startswith(("DROP TYPE", "ALTER TABLE ONLY")) or "DROP CONS" in text
    )
    return exact(
        *drops,
        f"ALTER TYPE {enum.name} RENAME TO {aside}",
        *made,
        *columns,
        f"DROP TYPE {quoted(enum.schema)}.{aside}",
        *others,
        reason=f"the type is made anew without {literal(label)} and its columns are converted; fails, and changes"
        " nothing, while a row holds that label",
    )


def _aside(name: str) -> str:
    suffix = "__squizzle_old"
    return name[: 63 - len(suffix)] + suffix


def _column_to(table: str, name: str, array: bool, default: str | None, enum: Enum) -> Iterator[str]:  # noqa: FBT001
    many = "[]" if array else ""
    if default is not None:
        yield f"ALTER TABLE {table} ALTER COLUMN {name} DROP DEFAULT"
    yield (
        f"ALTER TABLE {table} ALTER COLUMN {name} TYPE {enum.name}{many} USING {name}::text{many}::{enum.name}{many}"
    )
    if default is not None:
        yield f"ALTER TABLE {table} ALTER COLUMN {name} SET DEFAULT {default}"


def reverse_domain(tree: Tree, definitions: Definitions | None, context: Context) -> Reverse:  # noqa: ARG001
    """ALTER DOMAIN."""
    statement = tree.alter_domain_stmt
    if definitions is None:
        return irreversible(_NEEDS_DATABASE)
    name = dotted(strings(statement.type_name))
    domain = definitions.domain(Address(kind="domain", names=(name,)))
    if domain is None:
        return irreversible(f"the domain {name} was not found")
    return _DOMAIN[statement.subtype](statement, name, domain, definitions)


def _domain_default(_: Tree, name: str, domain: Domain, __: Definitions) -> Reverse:
    action = f"SET DEFAULT {domain.default}" if domain.default is not None else "DROP DEFAULT"
    return exact(f"ALTER DOMAIN {name} {action}")


def _domain_not_null(_: Tree, name: str, domain: Domain, __: Definitions) -> Reverse:
    return exact(f"ALTER DOMAIN {name} {'SET' if domain.not_null else 'DROP'} NOT NULL")


def _domain_add(statement: Tree, name: str, domain: Domain, definitions: Definitions) -> Reverse:
    constraint = getattr(statement, "def").constraint
    if constraint.contype == pb.CONSTR_NOTNULL:
        return _domain_not_null(statement, name, domain, definitions)
    taken = {one.name for one in domain.constraints}
    bare = strings(statement.type_name)[-1]
    chosen = constraint.conname or next(
        one for one in (f"{bare}_check{number or ''}" for number in range(len(taken) + 1)) if one not in taken
    )
    return exact(f"ALTER DOMAIN {name} DROP CONSTRAINT {quoted(chosen)}", reason="the constraint is dropped")


def _domain_drop(statement: Tree, name: str, domain: Domain, _: Definitions) -> Reverse:
    found = _constraint(statement, domain)
    if found is None:
        return nothing_to_do("there was no such constraint", certain=statement.missing_ok)
    return exact(*_domain_constraint(name, found), reason="added again from its definition")


def _domain_validate(statement: Tree, name: str, domain: Domain, _: Definitions) -> Reverse:
    found = _constraint(statement, domain)
    if found is None or found.validated:
        return nothing_to_do("it was validated already")
    drop = f"ALTER DOMAIN {name} DROP CONSTRAINT {quoted(found.name)}"
    return exact(drop, *_domain_constraint(name, found), reason="dropped, and added as it was before")


def _constraint(statement: Tree, domain: Domain) -> Constraint | None:
    return next((one for one in domain.constraints if one.name == statement.name), None)


def _domain_constraint(name: str, constraint: Constraint) -> Iterator[str]:
    yield f"ALTER DOMAIN {name} ADD CONSTRAINT {quoted(constraint.name)} {constraint.definition}"
    if constraint.comment is not None:
        yield f"COMMENT ON CONSTRAINT {quoted(constraint.name)} ON DOMAIN {name} IS {literal(constraint.comment)}"


_DOMAIN: dict[str, Callable[[Tree, str, Domain, Definitions], Reverse]] = {
    "T": _domain_default,
    "N": _domain_not_null,
    "O": _domain_not_null,
    "C": _domain_add,
    "X": _domain_drop,
    "V": _domain_validate,
}


def reverse_composite(tree: Tree, definitions: Definitions | None, context: Context) -> Reverse:  # noqa: ARG001
    """ALTER TYPE of a composite type: attributes."""
    statement = tree.alter_table_stmt
    name = range_name(statement.relation)
    if definitions is None:
        return irreversible(_NEEDS_DATABASE)
    relation = definitions.relation(name)
    if relation is None:
        return irreversible(f"the type {name} was not found")
    actions: list[str] = []
    for command in (one.alter_table_cmd for one in reversed(statement.cmds)):
        cascade = " CASCADE" if command.behavior == pb.DROP_CASCADE else ""
        definition = getattr(command, "def")
        if command.subtype == pb.AT_AddColumn:
            actions.append(f"DROP ATTRIBUTE {quoted(definition.column_def.colname)}{cascade}")
            continue
        old = relation.column(command.name)
        if old is None:
            continue
        kind = f"{old.type} COLLATE {old.collation}" if old.collation else old.type
        word = "ADD ATTRIBUTE" if command.subtype == pb.AT_DropColumn else "ALTER ATTRIBUTE"
        middle = "" if command.subtype == pb.AT_DropColumn else "TYPE "
        actions.append(f"{word} {quoted(command.name)} {middle}{kind}{cascade}")
    if not actions:
        return nothing_to_do("there was no such attribute")
    return exact(f"ALTER TYPE {name} {', '.join(actions)}", reason="the attributes become what they were")
