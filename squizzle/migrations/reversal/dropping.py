"""The way back of DROP. Pure."""

from __future__ import annotations

from postgast import pg_query_pb2 as pb

from squizzle.analysis.grammar import Tree
from squizzle.migrations.reversal.context import Context
from squizzle.migrations.reversal.definitions import Address, Definitions
from squizzle.migrations.reversal.records import Reverse, Reversibility, irreversible, nothing_to_do
from squizzle.migrations.reversal.remaking import bring_back
from squizzle.migrations.reversal.saving import save_table
from squizzle.migrations.reversal.trees import address_of, dotted


def reverse_drop(tree: Tree, definitions: Definitions | None, context: Context) -> Reverse:
    """DROP of any kind: everything that goes is made again from its own definition."""
    statement = tree.drop_stmt
    if definitions is None:
        return irreversible("the definition is not known without a database in the state before the script")
    addresses = [address_of(statement.remove_type, item) for item in statement.objects]
    known = [one for one in addresses if one is not None]
    there = [one for one in known if definitions.exists(one)]
    if statement.missing_ok and not there and len(known) == len(addresses):
        return nothing_to_do("there was no such object, so nothing was dropped")
    what = ", ".join(dotted(one.names) for one in there) or "it"
    back = bring_back(definitions, there, what=what)
    if back.reversibility is Reversibility.LOSSY and context.save_as and statement.remove_type == pb.OBJECT_TABLE:
        return _with_saved_rows(back, definitions, there, context)
    return _of_new_tables(back, statement, context)


def _of_new_tables(back: Reverse, statement: Tree, context: Context) -> Reverse:
    """A table that the script itself made held nothing before it."""
    if statement.remove_type != pb.OBJECT_TABLE or back.reversibility is not Reversibility.LOSSY:
        return back
    names = [dotted(one.string.sval for one in item.list.items) for item in statement.objects]
    if not all(name in context.created for name in names):
        return back
    return Reverse(statements=back.statements, reason="the script itself made it, so no row of before is lost")


def _with_saved_rows(back: Reverse, definitions: Definitions, addresses: list[Address], context: Context) -> Reverse:
    lost = definitions.lost(addresses)
    if lost.columns:
        return back
    saved = [save_table(definitions, table, context, part=part) for part, table in enumerate(lost.tables, start=1)]
    return Reverse(
        statements=_before_references((*back.statements,), tuple(text for one in saved for text in one.restore)),
        reason=f"made again from its definition, with the rows of {', '.join(lost.tables)} that were saved",
        save=tuple(text for one in saved for text in one.save),
    )


def _before_references(statements: tuple[str, ...], rows: tuple[str, ...]) -> tuple[str, ...]:
    """Rows come back before foreign keys and triggers that would look at them."""
    late = tuple(text for text in statements if " FOREIGN KEY " in text or text.startswith("CREATE TRIGGER"))
    early = tuple(text for text in statements if text not in late)
    return (*early, *rows, *late)
