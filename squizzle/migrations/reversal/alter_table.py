"""The way back of ALTER TABLE (and ALTER INDEX, VIEW, FOREIGN TABLE …): each subcommand turned round. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from postgast import pg_query_pb2 as pb

from squizzle.analysis.grammar import Tree
from squizzle.migrations.reversal.alter_actions import HANDLERS
from squizzle.migrations.reversal.alter_parts import Altered, Part, Phase, joined
from squizzle.migrations.reversal.context import Context
from squizzle.migrations.reversal.definitions import Definitions
from squizzle.migrations.reversal.records import Reverse, Reversibility, irreversible, nothing_to_do
from squizzle.migrations.reversal.trees import RELATIONS, quoted, range_name, relation_address
from squizzle.migrations.reversal.types import reverse_composite


def reverse_alter_table(tree: Tree, definitions: Definitions | None, context: Context) -> Reverse:
    """ALTER TABLE: the subcommands turned round, in an order in which they can run."""
    statement = tree.alter_table_stmt
    if statement.objtype == pb.OBJECT_TYPE:
        return reverse_composite(tree, definitions, context)
    name = range_name(statement.relation)
    if definitions is None:
        return _by_text(statement, name, context)
    altered = altered_relation(tree, definitions, context)
    if altered is None:
        if statement.missing_ok:
            return nothing_to_do("there was no such relation, so nothing was changed")
        return irreversible(f"{name} was not found in the database")
    parts = [part for command in statement.cmds for part in _parts(command.alter_table_cmd, altered)]
    return joined(parts)


def altered_relation(tree: Tree, definitions: Definitions, context: Context) -> Altered | None:
    """What an ALTER TABLE is about; None when there is no such relation."""
    statement = tree.alter_table_stmt
    name = range_name(statement.relation)
    relation = definitions.relation(name)
    if relation is None:
        return None
    return Altered(
        name=name,
        word=RELATIONS[statement.objtype],
        address=relation_address(statement.relation),
        relation=relation,
        definitions=definitions,
        context=context,
    )


def _parts(command: Tree, altered: Altered) -> Iterable[Part]:
    handler = HANDLERS.get(command.subtype)
    if handler is None:
        name = pb.AlterTableType.Name(command.subtype).removeprefix("AT_")
        return [Part(reversibility=Reversibility.NONE, reason=f"the way back of {name} is not known")]
    return handler(command, altered)


def _by_text(statement: Tree, name: str, context: Context) -> Reverse:
    """Without a database: what the text alone says."""
    if name in context.created:
        return nothing_to_do("the script itself made the table, so this goes with it")
    commands = [one.alter_table_cmd for one in statement.cmds]
    parts = [_part_by_text(command, name) for command in commands]
    if any(part is None for part in parts):
        return irreversible("what it was before is not known without a database in the state before the script")
    return joined([part for part in parts if part is not None])


def _part_by_text(command: Tree, name: str) -> Part | None:
    definition = getattr(command, "def")
    if command.subtype == pb.AT_AddColumn and not command.missing_ok:
        drop = f"ALTER TABLE {name} DROP COLUMN {quoted(definition.column_def.colname)}"
        return Part(statements=(drop,), phase=Phase.TAKE_AWAY, certain=True, reason="the new column is dropped")
    if command.subtype != pb.AT_AddConstraint or not definition.constraint.conname or definition.constraint.indexname:
        return None
    if definition.constraint.contype not in {pb.CONSTR_CHECK, pb.CONSTR_FOREIGN, pb.CONSTR_UNIQUE}:
        return None  # a primary key leaves NOT NULL behind
    drop = f"ALTER TABLE {name} DROP CONSTRAINT {quoted(definition.constraint.conname)}"
    return Part(statements=(drop,), phase=Phase.TAKE_AWAY, certain=True, reason="the constraint is dropped")
