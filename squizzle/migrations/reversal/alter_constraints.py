"""Each subcommand of ALTER TABLE that is about a constraint, turned round. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from squizzle.analysis.grammar import Tree
from squizzle.migrations.reversal.alter_parts import Altered, Handler, Part, Phase
from squizzle.migrations.reversal.chosen_names import choose_name, columns_part
from squizzle.migrations.reversal.definitions import Address, Constraint
from squizzle.migrations.reversal.records import Reversibility
from squizzle.migrations.reversal.remaking import restoring
from squizzle.migrations.reversal.trees import literal, quoted, strings

_LABELS: dict[int, str] = {
    pb.CONSTR_CHECK: "check",
    pb.CONSTR_PRIMARY: "pkey",
    pb.CONSTR_UNIQUE: "key",
    pb.CONSTR_EXCLUSION: "excl",
    pb.CONSTR_FOREIGN: "fkey",
    pb.CONSTR_NOTNULL: "not_null",
}


def _add(command: Tree, altered: Altered) -> Iterator[Part]:
    constraint = getattr(command, "def").constraint
    name = constraint.conname or _chosen(constraint, altered)
    drop = altered.alter(f"DROP CONSTRAINT {quoted(name)}")
    # A primary key makes its columns NOT NULL, and they stay so without it.
    newly = [column for column in _key_columns(constraint, altered) if _allows_null(column, altered)]
    plain = tuple(altered.alter(f"ALTER COLUMN {quoted(column)} DROP NOT NULL") for column in newly)
    index = _former_index(constraint, altered)
    yield Part(
        statements=(drop, *plain, *index),
        phase=Phase.TAKE_AWAY,
        reason="the constraint is dropped",
        certain=bool(constraint.conname) and not constraint.indexname and not plain,
    )


def _chosen(constraint: Tree, altered: Altered) -> str:
    label = _LABELS[constraint.contype]
    if constraint.indexname:
        return str(constraint.indexname)
    bare = altered.address.names[-1]
    schema = altered.definitions.schema(altered.address) or "public"
    second = "" if constraint.contype == pb.CONSTR_PRIMARY else columns_part(_columns(constraint))
    return choose_name(bare, second, label, schema=schema, definitions=altered.definitions)


def _columns(constraint: Tree) -> list[str]:
    match constraint.contype:
        case pb.CONSTR_FOREIGN:
            return list(strings(constraint.fk_attrs))
        case pb.CONSTR_EXCLUSION:
            return [one.list.items[0].index_elem.name or "expr" for one in constraint.exclusions]
        case pb.CONSTR_CHECK:
            used = sorted(set(_column_names(constraint.raw_expr)))
            return used if len(used) == 1 else []
        case _:
            return list(strings(constraint.keys))


def _column_names(message: Tree) -> Iterator[str]:
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for child in value if field.is_repeated else (value,):
            if field.name == "column_ref":
                yield child.fields[-1].string.sval
            yield from _column_names(child)


def _key_columns(constraint: Tree, altered: Altered) -> list[str]:
    if constraint.contype == pb.CONSTR_NOTNULL:
        return []
    if constraint.contype != pb.CONSTR_PRIMARY:
        return []
    if constraint.indexname:
        index = altered.definitions.relation(_in_same_schema(constraint.indexname, altered))
        return [column.name for column in index.columns] if index else []
    return list(strings(constraint.keys))


def _allows_null(name: str, altered: Altered) -> bool:
    column = altered.relation.column(name)
    return column is not None and not column.not_null


def _in_same_schema(name: str, altered: Altered) -> str:
    schema = altered.definitions.schema(altered.address)
    return f"{quoted(schema)}.{quoted(name)}" if schema else quoted(name)


def _former_index(constraint: Tree, altered: Altered) -> tuple[str, ...]:
    """An index that became the constraint's goes with it, and was there before."""
    if not constraint.indexname:
        return ()
    schema = altered.definitions.schema(altered.address) or ""
    names = tuple(part for part in (schema, constraint.indexname) if part)
    return altered.definitions.made(Address(kind="relation", names=names))


def _drop(command: Tree, altered: Altered) -> Iterator[Part]:
    constraint = altered.relation.constraint(command.name)
    if constraint is None:
        yield Part(reason="there was no such constraint, so nothing was dropped", certain=command.missing_ok)
        return
    lost = altered.definitions.lost([Address(kind="constraint of", names=(altered.name, command.name))])
    statements = restoring(altered.definitions, lost) or _made(constraint, altered)
    unknown = ", ".join(lost.unknown)
    yield Part(
        statements=statements,
        phase=Phase.BRING_BACK,
        reversibility=Reversibility.LOSSY if unknown else Reversibility.EXACT,
        reason=f"no definition that can be read of {unknown}"
        if unknown
        else "added again from its definition; fails, and changes nothing, while a row breaks it",
    )


def _made(constraint: Constraint, altered: Altered) -> tuple[str, ...]:
    name = quoted(constraint.name)
    made = altered.alter(f"ADD CONSTRAINT {name} {constraint.definition}")
    if constraint.comment is None:
        return (made,)
    return (made, f"COMMENT ON CONSTRAINT {name} ON {altered.name} IS {literal(constraint.comment)}")


def _as_it_was(command: Tree, altered: Altered) -> Iterator[Part]:
    """VALIDATE and ALTER CONSTRAINT: dropped, and added as it was before."""
    name = command.name or getattr(command, "def").constraint.conname or _alter_name(command)
    constraint = altered.relation.constraint(name)
    if constraint is None:
        yield Part(reversibility=Reversibility.NONE, reason=f"the constraint {quoted(name)} was not found")
        return
    if command.subtype == pb.AT_ValidateConstraint and constraint.validated:
        yield Part(reason="it was validated already", certain=True)
        return
    drop = altered.alter(f"DROP CONSTRAINT {quoted(name)}")
    yield Part(statements=(drop, *_made(constraint, altered)), reason="dropped, and added as it was before")


def _alter_name(command: Tree) -> str:
    definition = getattr(command, "def")
    return str(definition.atalter_constraint.conname) if definition.HasField("atalter_constraint") else ""


CONSTRAINT_HANDLERS: dict[int, Handler] = {
    pb.AT_AddConstraint: _add,
    pb.AT_DropConstraint: _drop,
    pb.AT_ValidateConstraint: _as_it_was,
    pb.AT_AlterConstraint: _as_it_was,
}
